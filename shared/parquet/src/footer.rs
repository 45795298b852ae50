//! What a file says of itself.

use bytes::Bytes;
use parquet::{
    arrow::parquet_to_arrow_schema,
    file::{
        FOOTER_SIZE,
        metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader},
    },
};

use crate::{arrow_types::columns, timestamps::with_micros};
use turntable_core::{
    error::{Error, Result},
    layout::Key,
    port::Objects,
    schema::Column,
};

/// Bytes at the end of the object that are read first: few footers are longer.
const TAIL: u64 = 64 << 10;

/// Bytes: longer than the footer of any file that we write, and no burden for memory.
const MAX_FOOTER: u64 = 16 << 20;

/// The magic number at the beginning.
const HEAD: u64 = 4;

/// Reads the footer of an object of `size` bytes with one ranged request, or two where it is long.
pub async fn read_footer(objects: &dyn Objects, at: &Key, etag: &str, size: u64) -> Result<ParquetMetaData> {
    const LAST: u64 = FOOTER_SIZE as u64;
    if size < HEAD + LAST {
        return Err(Error::corrupt(format!("{at}: {size} bytes are too few for a Parquet file")));
    }
    let start = size.saturating_sub(TAIL);
    let tail = objects.range(at, etag, start..size).await?;
    let length = footer_length(at, &tail)?;
    if length > size - HEAD - LAST || length > MAX_FOOTER {
        return Err(Error::corrupt(format!("{at}: its footer claims {length} bytes, and the file has {size}")));
    }
    let footer = size - LAST - length;
    let bytes = match footer.checked_sub(start) {
        Some(within) => tail.slice(within as usize..tail.len() - FOOTER_SIZE),
        None => objects.range(at, etag, footer..size - LAST).await?,
    };
    ParquetMetaDataReader::decode_metadata(&bytes)
        .map_err(|error| Error::corrupt(format!("{at}: its footer cannot be read")).caused_by(error))
}

/// Bytes of the footer, from the last eight of the file: its length, and the magic number.
fn footer_length(at: &Key, tail: &Bytes) -> Result<u64> {
    let last = tail.last_chunk::<FOOTER_SIZE>();
    let last = last.ok_or_else(|| Error::corrupt(format!("{at}: it ends before its footer")))?;
    let last = FooterTail::try_new(last)
        .map_err(|error| Error::corrupt(format!("{at} is no Parquet file")).caused_by(error))?;
    if last.is_encrypted_footer() {
        return Err(Error::corrupt(format!("{at}: its footer is encrypted, and Athena could not read it")));
    }
    Ok(last.metadata_length() as u64)
}

/// The columns as Glue would call them. Goes by Parquet's own types, as Athena does, and not by what some writer says of
/// Arrow's. Athena reads INT96, which Spark and its own writer have for timestamps, and finds a column in whatever case
/// its name is (Trino's `ParquetTypeUtils.lookupColumnByName`).
pub fn columns_of(at: &Key, footer: &ParquetMetaData) -> Result<Vec<Column>> {
    let leaves = footer.file_metadata().schema_descr();
    let arrow = parquet_to_arrow_schema(leaves, None)
        .map_err(|error| Error::corrupt(format!("{at}: its schema cannot be read")).caused_by(error))?;
    let micros = with_micros(leaves, &arrow);
    let found = columns(micros.as_deref().unwrap_or(&arrow));
    let mut columns = found.map_err(|fault| Error::corrupt(format!("{at}: {fault}")))?;
    columns.iter_mut().for_each(|column| column.name = column.name.to_lowercase());
    Ok(columns)
}

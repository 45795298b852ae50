//! Reads Parquet footers.

use arrow_schema::TimeUnit;
use bytes::Bytes;
use parquet::{
    arrow::parquet_to_arrow_schema,
    file::{
        FOOTER_SIZE,
        metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader},
    },
};
use turntable_core::{
    error::{Error, Result},
    layout::Key,
    port::Objects,
    schema::Column,
};

use crate::{
    arrow_types::lower_case_columns,
    sound::{contradiction, has_encrypted_columns},
    timestamps::int96_in,
};

/// The number of bytes that the first request reads from the end of the object. Few footers are longer.
const TAIL_BYTES: u64 = 64 << 10;

/// The maximum size of a footer, in bytes. Turntable's own footers are all smaller, and a footer of this size fits into
/// memory.
const MAX_FOOTER_BYTES: u64 = 16 << 20;

/// The advice for a file that can't be used.
const WRITE_AGAIN: &str = "run the export or refresh again";

/// The size of the magic number at the start of a file, in bytes.
const MAGIC_BYTES: u64 = 4;

/// Reads the footer of an object of `size` bytes with one range request, or with two if the footer is long.
pub async fn read_footer(objects: &dyn Objects, at: &Key, etag: &str, size: u64) -> Result<ParquetMetaData> {
    const FOOTER_END_BYTES: u64 = FOOTER_SIZE as u64;
    if size < MAGIC_BYTES + FOOTER_END_BYTES {
        return Err(Error::corrupt(format!(
            "{at} is not a Parquet file, because it has only {size} bytes: {WRITE_AGAIN}"
        )));
    }
    let start = size.saturating_sub(TAIL_BYTES);
    let tail = objects.range(at, etag, start..size).await?;
    let length = footer_length(at, &tail)?;
    if length > size - MAGIC_BYTES - FOOTER_END_BYTES || length > MAX_FOOTER_BYTES {
        return Err(Error::corrupt(format!(
            "{at}: its Parquet footer has an invalid length, {length} bytes in a file of {size} bytes: {WRITE_AGAIN}"
        )));
    }
    let footer = size - FOOTER_END_BYTES - length;
    let bytes = match footer.checked_sub(start) {
        Some(within) => tail.slice(within as usize..tail.len() - FOOTER_SIZE),
        None => objects.range(at, etag, footer..size - FOOTER_END_BYTES).await?,
    };
    if has_encrypted_columns(&bytes) {
        return Err(Error::corrupt(format!(
            "{at} has encrypted columns, which Athena can't read: write the file unencrypted"
        )));
    }
    let footer = ParquetMetaDataReader::decode_metadata(&bytes).map_err(|error| {
        Error::corrupt(format!("{at}: its Parquet footer is damaged: {WRITE_AGAIN}")).caused_by(error)
    })?;
    match contradiction(&footer) {
        Some(what) => Err(Error::corrupt(format!("{at} contradicts itself: {what}: {WRITE_AGAIN}"))),
        None => Ok(footer),
    }
}

/// Returns the footer's length in bytes. `tail` ends with the file's last eight bytes: the length and the magic number.
fn footer_length(at: &Key, tail: &Bytes) -> Result<u64> {
    let last = tail.last_chunk::<FOOTER_SIZE>();
    let last = last.ok_or_else(|| Error::corrupt(format!("{at} ends before its Parquet footer: {WRITE_AGAIN}")))?;
    let last = FooterTail::try_new(last)
        .map_err(|error| Error::corrupt(format!("{at} is not a Parquet file: {WRITE_AGAIN}")).caused_by(error))?;
    if last.is_encrypted_footer() {
        return Err(Error::corrupt(format!(
            "{at}: its Parquet footer is encrypted, which Athena can't read: write it unencrypted"
        )));
    }
    Ok(last.metadata_length() as u64)
}

/// Returns a file's columns, with Glue types and lower-case names. Uses Parquet's own types, as Athena does, and
/// ignores an Arrow schema in the footer.
///
/// INT96, which Spark and Athena's own writer use for timestamps, is accepted, because Athena reads it. Names are lower
/// case, because Athena matches them regardless of case (Trino's `ParquetTypeUtils.lookupColumnByName`).
pub fn columns_of(at: &Key, footer: &ParquetMetaData) -> Result<Vec<Column>> {
    let leaves = footer.file_metadata().schema_descr();
    let arrow = parquet_to_arrow_schema(leaves, None).map_err(|error| {
        Error::corrupt(format!("{at}: its Parquet schema is invalid: {WRITE_AGAIN}")).caused_by(error)
    })?;
    let micros = int96_in(TimeUnit::Microsecond, leaves, &arrow);
    let found = lower_case_columns(micros.as_deref().unwrap_or(&arrow));
    found.map_err(|fault| Error::corrupt(format!("{at}: {fault}")))
}

//! Reads a Parquet drop one row group at a time, and only the columns that a record needs. The sizes that the file
//! states are checked against limits, because anybody with write access to the inbox can state any size.

use std::{ops::Range, sync::Arc};

use arrow_schema::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    errors::{ParquetError, Result as Parsed},
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};

use super::{
    pages::Parts,
    reader::{ParsedDrop, Reader},
    record::{MAX_RECORDS, Records},
    rows::Rows,
};
use crate::files::codec;
use turntable_core::{
    error::{Error, Result},
    layout::Key,
};

/// The maximum number of rows in a batch.
const BATCH_ROWS: usize = 8192;
/// The maximum size of a footer, in bytes. A decoded footer takes about a hundred times as much memory.
pub const MAX_FOOTER_BYTES: u64 = 2 << 20;
/// The maximum total size, in bytes, of the columns that are read from one row group. [`MAX_RECORDS`] keys, states and
/// times take less.
const MAX_ROW_GROUP_BYTES: u64 = 256 << 20;

/// Reads a drop from the bytes of its whole file.
pub fn file(at: &Key, bytes: Bytes, reader: &Reader) -> Result<ParsedDrop> {
    let before = bytes.len().saturating_sub(MAX_FOOTER_BYTES as usize);
    let drop = Drop::open(at, &bytes.slice(before..), bytes.len() as u64, reader)?;
    let mut rows = Rows::new(reader, MAX_RECORDS);
    for group in 0..drop.groups() {
        drop.read(group, Parts::new(vec![(0, bytes.clone())]), &mut rows)?;
    }
    rows.finish()
}

fn damaged(at: &Key, fault: ParquetError) -> Error {
    Error::input(format!("{at} is damaged or not Parquet: replace the file")).caused_by(fault)
}

/// A Parquet drop with its decoded footer.
pub struct Drop<'a> {
    at: &'a Key,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
}

impl<'a> Drop<'a> {
    /// Decodes the footer. `tail` is the end of a file of `size` bytes.
    pub fn open(at: &'a Key, tail: &Bytes, size: u64, reader: &Reader) -> Result<Drop<'a>> {
        let mut footer = ParquetMetaDataReader::new();
        footer.try_parse_sized(tail, size).map_err(|fault| match fault {
            ParquetError::NeedMoreData(_) if tail.len() as u64 == MAX_FOOTER_BYTES => {
                Error::input(format!("{at} has a footer larger than 2 MB: write larger row groups and fewer columns"))
            }
            fault => damaged(at, fault),
        })?;
        let footer = Arc::new(footer.finish().map_err(|fault| damaged(at, fault))?);
        codec::readable(&footer).map_err(|why| Error::input(format!("{at}: {why}")))?;
        let metadata = with_string_views(footer).map_err(|fault| damaged(at, fault))?;
        let names = Records::names(&reader.key);
        let wanted = |name: &str| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        let leaves = metadata.parquet_schema();
        let roots = leaves.root_schema().get_fields().iter().enumerate();
        let roots: Vec<usize> = roots.filter(|(_, field)| wanted(field.name())).map(|(root, _)| root).collect();
        let mask = ProjectionMask::roots(leaves, roots);
        Ok(Drop { at, metadata, mask })
    }

    /// Returns the number of row groups.
    pub fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Returns the byte ranges of the columns to read in a row group. Fails if they are too large in total.
    pub fn ranges(&self, group: usize) -> Result<Vec<Range<u64>>> {
        let columns = self.metadata.metadata().row_group(group).columns().iter().enumerate();
        let wanted = columns.filter(|(leaf, _)| self.mask.leaf_included(*leaf)).map(|(_, column)| column.byte_range());
        let ranges: Vec<_> = wanted.map(|(start, length)| start..start.saturating_add(length)).collect();
        if ranges.iter().map(|range| range.end - range.start).fold(0, u64::saturating_add) > MAX_ROW_GROUP_BYTES {
            let at = self.at;
            return Err(Error::input(format!("{at} has a row group larger than 256 MB: write smaller row groups")));
        }
        Ok(ranges)
    }

    /// Adds the rows of a row group to `rows`. `columns` must contain the row group's [`Drop::ranges`].
    pub fn read(&self, group: usize, columns: Parts, rows: &mut Rows) -> Result<()> {
        let damaged = |fault| damaged(self.at, fault);
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(columns, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(damaged)?;
        for batch in batches {
            rows.push(&self.at.to_string(), &batch.map_err(|fault| damaged(fault.into()))?)?;
        }
        Ok(())
    }
}

/// Returns the metadata with Parquet's own types, ignoring an embedded Arrow schema, but with string views in place of
/// strings. With views, a long string in a dictionary is not copied for every row that has it.
fn with_string_views(footer: Arc<ParquetMetaData>) -> Parsed<ArrowReaderMetadata> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(footer, options.clone())?;
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => field.clone(),
    };
    let schema = Schema::new(plain.schema().fields().iter().map(view).collect::<Fields>());
    ArrowReaderMetadata::try_new(plain.metadata().clone(), options.with_schema(Arc::new(schema)))
}

//! Reads a Parquet drop one row group at a time, and only the columns that a record needs. The sizes in the file's
//! metadata are checked against limits, because anybody with write access to the inbox can write any size there.
//!
//! The row counts in the metadata must agree: the counts for the file, its row groups, their columns and the pages. The
//! parquet crate trusts them, and silently reads fewer rows if one is too small.

use std::{ops::Range, sync::Arc};

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use bytes::Bytes;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    column::page::PageReader,
    errors::{ParquetError, Result as Parsed},
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader},
        serialized_reader::SerializedPageReader,
    },
};

use super::{
    pages::{MAX_PAGE_BYTES, Parts},
    reader::{ParsedDrop, Reader},
    record::{MAX_RECORDS, Records},
    rows::Rows,
};
use crate::files::{codec, page_bounds};
use turntable_core::{
    error::{Error, Result},
    layout::Key,
};
use turntable_parquet::int96_in;

/// The maximum number of rows in a batch.
const BATCH_ROWS: usize = 8192;
/// The maximum size of a footer, in bytes. When decoded, a footer takes about a hundred times as much memory.
pub const MAX_FOOTER_BYTES: u64 = 2 << 20;
/// The maximum total size, in bytes, of the columns that are read from one row group. The keys, states and times of
/// [`MAX_RECORDS`] records take less.
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
    /// Decodes the footer. `tail` is the end of a file with `size` bytes.
    pub fn open(at: &'a Key, tail: &Bytes, size: u64, reader: &Reader) -> Result<Drop<'a>> {
        let mut footer = ParquetMetaDataReader::new();
        footer.try_parse_sized(tail, size).map_err(|fault| match fault {
            ParquetError::NeedMoreData(_) if tail.len() as u64 == MAX_FOOTER_BYTES => {
                Error::input(format!("{at} has a footer larger than 2 MB: replace the file with one that has larger row groups or fewer columns"))
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
        let drop = Drop { at, metadata, mask };
        drop.check_footer()?;
        Ok(drop)
    }

    /// Checks that the numbers of rows in the footer agree.
    fn check_footer(&self) -> Result<()> {
        let footer = self.metadata.metadata();
        let (rows, groups) = (footer.file_metadata().num_rows(), footer.row_groups());
        let sum: i128 = groups.iter().map(|group| i128::from(group.num_rows())).sum();
        if i128::from(rows) != sum {
            return Err(self.contradiction(format!("its footer says {rows} rows, its row groups {sum}")));
        }
        for (number, group) in groups.iter().enumerate() {
            for column in self.flat_columns(number) {
                let (rows, values) = (group.num_rows(), column.num_values());
                if rows != values {
                    let name = column.column_path().string();
                    let what = format!("row group {number} says {rows} rows, its column {name} {values} values");
                    return Err(self.contradiction(what));
                }
            }
        }
        Ok(())
    }

    /// Returns the columns to read from a row group, except columns that can have several values in a row.
    fn flat_columns(&self, group: usize) -> impl Iterator<Item = &ColumnChunkMetaData> {
        let columns = self.metadata.metadata().row_group(group).columns().iter().enumerate();
        let wanted = columns.filter(move |(leaf, _)| self.mask.leaf_included(*leaf)).map(|(_, column)| column);
        wanted.filter(|column| column.column_descr().max_rep_level() == 0)
    }

    fn contradiction(&self, what: String) -> Error {
        Error::input(format!("{} contradicts itself: {what}: write the file again", self.at))
    }

    /// Returns the number of row groups.
    pub fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Returns the byte ranges of the columns to read from a row group. Fails if their total size is too large.
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

    /// Checks that no page of a row group expands beyond its limit.
    fn check_pages(&self, group: usize, parts: &Parts) -> Result<()> {
        let columns = self.metadata.metadata().row_group(group).columns().iter().enumerate();
        for (_, column) in columns.filter(|(leaf, _)| self.mask.leaf_included(*leaf)) {
            let (start, length) = column.byte_range();
            let chunk = parts.from(start).map_err(|fault| damaged(self.at, fault))?;
            let chunk = chunk.slice(..chunk.len().min(usize::try_from(length).unwrap_or(usize::MAX)));
            let values = u64::try_from(column.num_values()).unwrap_or(0);
            let checked = page_bounds::largest(&chunk, column.compression(), values, MAX_PAGE_BYTES);
            checked.map_err(|what| damaged(self.at, ParquetError::General(what)))?;
        }
        Ok(())
    }

    /// Adds a row group's rows to `rows`. `columns` must contain the row group's [`Drop::ranges`].
    pub fn read(&self, group: usize, columns: Parts, rows: &mut Rows) -> Result<()> {
        let damaged = |fault| damaged(self.at, fault);
        let said = self.metadata.metadata().row_group(group).num_rows();
        self.check_pages(group, &columns)?;
        for column in self.flat_columns(group) {
            let values = values_in_pages(&columns, column).map_err(damaged)?;
            if i128::from(values) != i128::from(said) {
                let name = column.column_path().string();
                let what =
                    format!("row group {group} says {said} rows, the pages of its column {name} {values} values");
                return Err(self.contradiction(what));
            }
        }
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(columns, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(damaged)?;
        let mut read = 0_u64;
        for batch in batches {
            let batch = batch.map_err(|fault| damaged(fault.into()))?;
            read += batch.num_rows() as u64;
            rows.push(&self.at.to_string(), &batch)?;
        }
        if i128::from(read) != i128::from(said) {
            return Err(self.contradiction(format!("row group {group} says {said} rows, but has {read}")));
        }
        Ok(())
    }
}

/// Returns the number of values in a column's pages. Bytes after the column's stated number of values are ignored
/// unless they are another page.
fn values_in_pages(columns: &Parts, column: &ColumnChunkMetaData) -> Parsed<u64> {
    let said = u64::try_from(column.num_values()).unwrap_or(0);
    let mut pages = SerializedPageReader::new(Arc::new(columns.clone()), column, 0, None)?;
    let mut values = 0_u64;
    loop {
        let page = match pages.peek_next_page() {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(values),
            Err(_) if values >= said => return Ok(values),
            Err(fault) => return Err(fault),
        };
        values = values.saturating_add(page.num_levels.unwrap_or(0) as u64);
        if values > said {
            return Ok(values);
        }
        pages.skip_next_page()?;
    }
}

/// Returns the metadata with Parquet's own types, ignoring an embedded Arrow schema, but with string views instead of
/// strings, and with INT96 in microseconds. With views, a long string in a dictionary isn't copied for each row that
/// contains it. In nanoseconds, a time after the year 2262 would wrap around to a time in the past.
fn with_string_views(footer: Arc<ParquetMetaData>) -> Parsed<ArrowReaderMetadata> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(footer, options.clone())?;
    let micros = int96_in(TimeUnit::Microsecond, plain.parquet_schema(), plain.schema());
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => field.clone(),
    };
    let fields = micros.as_deref().unwrap_or(plain.schema()).fields();
    let schema = Schema::new(fields.iter().map(view).collect::<Fields>());
    ArrowReaderMetadata::try_new(plain.metadata().clone(), options.with_schema(Arc::new(schema)))
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
    use parquet::{
        arrow::ArrowWriter,
        data_type::{ByteArray, ByteArrayType, Int64Type, Int96, Int96Type},
        file::{metadata::ParquetMetaDataWriter, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };
    use turntable_core::consent::{
        key::{self, Type},
        normalize::Normalization,
    };

    use super::*;

    /// Returns a Parquet file with 60 records in one row group.
    fn sixty_records() -> Vec<u8> {
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from_iter_values(0..60)) as _),
            ("state", Arc::new(StringArray::from_iter_values((0..60).map(|_| "opted_out"))) as _),
            ("occurred_at", Arc::new(TimestampMicrosecondArray::from_iter_values(0..60)) as _),
        ])
        .unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    /// Returns the file with the row count in the footer set to 0, but not the row group's count.
    fn with_no_rows_in_footer(mut file: Vec<u8>) -> Vec<u8> {
        // Thrift's compact protocol: num_rows is an i64, 60 in zigzag; the next field is a list with one struct.
        let (said, none) = ([0x16, 0x78, 0x19, 0x1C], [0x16, 0x00, 0x19, 0x1C]);
        let places: Vec<usize> = (0..file.len() - 4).filter(|at| file[*at..*at + 4] == said).collect();
        assert_eq!(places.len(), 1);
        file[places[0]..places[0] + 4].copy_from_slice(&none);
        file
    }

    /// Returns the file with other counts in its footer: `rows` in the row group, and `values` in each column.
    fn with_counts(file: &[u8], rows: i64, values: i64) -> Vec<u8> {
        let footer = ParquetMetaDataReader::new().parse_and_finish(&Bytes::copy_from_slice(file)).unwrap();
        let group = footer.row_group(0).clone();
        let change =
            |column: &ColumnChunkMetaData| column.clone().into_builder().set_num_values(values).build().unwrap();
        let columns = group.columns().iter().map(change).collect();
        let group = group.into_builder().set_num_rows(rows).set_column_metadata(columns).build().unwrap();
        let changed = ParquetMetaData::new(footer.file_metadata().clone(), vec![group]);
        let length = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap());
        let mut bytes = file[..file.len() - 8 - length as usize].to_vec();
        ParquetMetaDataWriter::new(&mut bytes, &changed).finish().unwrap();
        bytes
    }

    #[test]
    fn key_may_be_a_decimal_without_places() {
        let ids = [Some(7), None, Some(i128::from(i64::MAX) + 1), Some(i128::from(i64::MIN))];
        let read = |scale: i8| {
            let ids = Decimal128Array::from(ids.to_vec()).with_precision_and_scale(38, scale).unwrap();
            let batch = RecordBatch::try_from_iter([
                ("id", Arc::new(ids) as ArrayRef),
                ("state", Arc::new(StringArray::from(vec!["opted_out"; 4]))),
                ("occurred_at", Arc::new(TimestampMicrosecondArray::from(vec![1; 4]))),
            ])
            .unwrap();
            let mut bytes = Vec::new();
            let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            let key = key::Key { columns: vec![("id".into(), Type::Bigint)] };
            let normalize = Normalization::default();
            let now = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1);
            let reader = Reader { key, states: Default::default(), normalize, now, spill: Default::default() };
            file(&"s3://b/a.parquet".parse().unwrap(), bytes.into(), &reader)
        };
        let drop = read(0).unwrap();
        assert_eq!(drop.records.len(), 2);
        let why = format!("{:?}", drop.rejects);
        assert!(why.contains("id is missing") && why.contains("id is not a whole number in the type's range"), "{why}");
        assert!(read(2).is_err());
    }

    /// Returns a file in which each record has a time as Spark writes it: the Julian day, and the nanoseconds in the
    /// day.
    fn with_int96(days: &[u32]) -> Vec<u8> {
        let message = "message m { required int64 id; required binary state (STRING); required int96 occurred_at; }";
        let schema = Arc::new(parse_message_type(message).unwrap());
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut id = group.next_column().unwrap().unwrap();
        id.typed::<Int64Type>().write_batch(&(0..days.len() as i64).collect::<Vec<_>>(), None, None).unwrap();
        id.close().unwrap();
        let mut state = group.next_column().unwrap().unwrap();
        let states = vec![ByteArray::from("opted_out"); days.len()];
        state.typed::<ByteArrayType>().write_batch(&states, None, None).unwrap();
        state.close().unwrap();
        let mut time = group.next_column().unwrap().unwrap();
        let times: Vec<Int96> = days.iter().map(|day| Int96::from(vec![1_000, 0, 2_440_588 + day])).collect();
        time.typed::<Int96Type>().write_batch(&times, None, None).unwrap();
        time.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn a_time_of_the_far_future_does_not_wrap_around_to_the_past() {
        // In nanoseconds, the second time would be in 2025.
        let (day, wrap) = (20_100, 213_504);
        let key = key::Key { columns: vec![("id".into(), Type::Bigint)] };
        let now = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 20_500);
        let (states, normalize) = (Default::default(), Normalization::default());
        let reader = Reader { key, states, normalize, now, spill: Default::default() };
        let drop = file(&"s3://b/a.parquet".parse().unwrap(), with_int96(&[day, day + wrap]).into(), &reader).unwrap();
        assert_eq!(drop.records.len(), 1);
        assert!(format!("{:?}", drop.rejects).contains("future"), "{:?}", drop.rejects);
    }

    #[test]
    fn file_that_contradicts_itself_is_an_error() {
        let read = |bytes: Vec<u8>| {
            let key = key::Key { columns: vec![("id".into(), Type::Bigint)] };
            let normalize = Normalization::default();
            let reader = Reader {
                key,
                states: Default::default(),
                normalize,
                now: jiff::Timestamp::UNIX_EPOCH,
                spill: Default::default(),
            };
            let parsed = file(&"s3://b/a.parquet".parse().unwrap(), bytes.into(), &reader);
            parsed.map(|parsed| parsed.records.len()).map_err(|error| error.report())
        };
        let contradicts =
            |what: &str| Err(format!("s3://b/a.parquet contradicts itself: {what}: write the file again"));
        let good = sixty_records();
        assert_eq!(read(good.clone()), Ok(60));
        assert_eq!(read(with_counts(&good, 60, 60)), Ok(60));
        assert_eq!(
            read(with_no_rows_in_footer(good.clone())),
            contradicts("its footer says 0 rows, its row groups 60")
        );
        assert_eq!(read(with_counts(&good, 10, 60)), contradicts("row group 0 says 10 rows, its column id 60 values"));
        for wrong in [10, 59, 61, 0] {
            assert_eq!(
                read(with_counts(&good, wrong, wrong)),
                contradicts(&format!("row group 0 says {wrong} rows, the pages of its column id 60 values"))
            );
        }
    }
}

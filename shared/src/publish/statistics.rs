//! Reads column statistics from a Parquet footer and converts them to the audit's types.

use arrow_schema::DataType;
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit},
    file::{
        metadata::{ParquetMetaData, RowGroupMetaData},
        statistics::Statistics as Chunk,
    },
    schema::types::ColumnDescriptor,
};

use turntable_core::{
    audit::{Extremes, Statistics, Value},
    schema::Column,
};
use turntable_parquet::{arrow_types::parse_arrow_type, nested_nulls};

/// Returns the statistics of each column over all row groups, in the order of `columns`. A nested column has no
/// extremes, and has a null count only if the footer contains it: see [`nested_nulls`].
pub fn of(columns: &[Column], footer: &ParquetMetaData) -> Vec<Option<Statistics>> {
    columns.iter().map(|column| column_statistics(column, footer)).collect()
}

fn column_statistics(column: &Column, footer: &ParquetMetaData) -> Option<Statistics> {
    let leaves = footer.file_metadata().schema_descr().columns();
    let is_column = |leaf: &ColumnDescriptor| match leaf.path().parts() {
        [name] => name.to_lowercase() == column.name && leaf.max_rep_level() == 0,
        _ => false,
    };
    let Some(at) = leaves.iter().position(|leaf| is_column(leaf)) else {
        return Some(Statistics { nulls: nested_nulls(footer, &column.name), extremes: Extremes::Unknown });
    };
    let data_type = parse_arrow_type(&column.glue_type).ok()?;
    let groups = footer.row_groups().iter().filter(|group| group.num_rows() > 0);
    groups
        .map(|group| row_group_statistics(group, at, &data_type))
        .reduce(Statistics::and)
        .or(Some(Statistics { nulls: Some(0), extremes: Extremes::NoValue }))
}

fn row_group_statistics(group: &RowGroupMetaData, at: usize, data_type: &DataType) -> Statistics {
    let (chunk, leaf) = (group.column(at).statistics(), group.column(at).column_descr());
    // A required column has no nulls to count.
    let nulls = if leaf.max_def_level() == 0 { Some(0) } else { chunk.and_then(Chunk::null_count_opt) };
    let all_null = nulls.is_some() && nulls == u64::try_from(group.num_rows()).ok();
    let extremes =
        if all_null { Some(Extremes::NoValue) } else { chunk.and_then(|chunk| extremes(chunk, leaf, data_type)) };
    Statistics { nulls, extremes: extremes.unwrap_or(Extremes::Unknown) }
}

fn extremes(chunk: &Chunk, leaf: &ColumnDescriptor, data_type: &DataType) -> Option<Extremes> {
    // The deprecated min/max fields compare bytes as signed numbers. A column's minimum and maximum never include NaN.
    if chunk.nan_count_opt().is_some_and(|count| count > 0) {
        return Some(Extremes::NotANumber);
    }
    if chunk.is_min_max_deprecated() {
        return None;
    }
    let pair =
        |value: &dyn Fn(&[u8]) -> Option<Value>| Some((value(chunk.min_bytes_opt()?)?, value(chunk.max_bytes_opt()?)?));
    let (min, max) = pair(&|bytes| value(chunk, bytes, leaf, data_type))?;
    // Writers truncate only strings. All other values are exact, even though not every writer marks them as exact.
    let exact = !matches!(min, Value::Text(_)) || chunk.min_is_exact() && chunk.max_is_exact();
    Some(Extremes::Between { min, max, exact })
}

/// Decodes a minimum or maximum. Returns `None` if the bytes are malformed, or if no check compares values of this
/// type.
fn value(chunk: &Chunk, bytes: &[u8], leaf: &ColumnDescriptor, data_type: &DataType) -> Option<Value> {
    let whole = || match chunk {
        Chunk::Int32(_) => bytes.try_into().ok().map(|bytes| i64::from(i32::from_le_bytes(bytes))),
        Chunk::Int64(_) => bytes.try_into().ok().map(i64::from_le_bytes),
        _ => None,
    };
    Some(match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Value::Whole(whole()?),
        DataType::Float32 => Value::Number(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        DataType::Float64 => Value::Number(f64::from_le_bytes(bytes.try_into().ok()?)),
        DataType::Decimal128(_, scale) => {
            let unscaled = match chunk {
                Chunk::ByteArray(_) | Chunk::FixedLenByteArray(_) => big_endian(bytes)?,
                _ => whole()?.into(),
            };
            Value::Decimal { unscaled, scale: u8::try_from(*scale).ok()? }
        }
        DataType::Date32 => Value::Date(whole()?.try_into().ok()?),
        DataType::Timestamp(..) => Value::Timestamp(micros(whole()?, leaf)?),
        DataType::Utf8 => Value::Text(bytes.to_vec()),
        _ => return None,
    })
}

/// Decodes a big-endian two's complement integer of 1 to 16 bytes. Returns `None` for any other length.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut all = [sign; 16];
    all[16usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}

/// Converts a timestamp from a footer to microseconds, rounding nanoseconds down. Returns `None` if the footer doesn't
/// contain the unit, or if the result overflows.
fn micros(time: i64, leaf: &ColumnDescriptor) -> Option<i64> {
    let unit = match (leaf.logical_type_ref(), leaf.converted_type()) {
        (Some(LogicalType::Timestamp(timestamp)), _) => timestamp.unit,
        (None, ConvertedType::TIMESTAMP_MILLIS) => TimeUnit::MILLIS,
        (None, ConvertedType::TIMESTAMP_MICROS) => TimeUnit::MICROS,
        _ => return None,
    };
    match unit {
        TimeUnit::MILLIS => time.checked_mul(1000),
        TimeUnit::MICROS => Some(time),
        TimeUnit::NANOS => Some(time.div_euclid(1000)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampNanosecondArray};
    use parquet::{
        arrow::ArrowWriter,
        file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter},
    };

    use super::*;

    /// Returns the footer of a file whose only column, `c`, contains `array`.
    fn footer(array: ArrayRef) -> ParquetMetaData {
        let batch = RecordBatch::try_from_iter([("c", array)]).unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(file)).unwrap()
    }

    /// Writes the footer with `statistics` that lack the null count, as some writers do, and reads it back.
    fn without_null_count(footer: ParquetMetaData, statistics: Chunk) -> ParquetMetaData {
        let mut footer = footer.into_builder();
        let mut groups = footer.take_row_groups();
        let mut group = groups.remove(0).into_builder();
        let chunk = group.take_columns().remove(0).into_builder().set_statistics(statistics).build().unwrap();
        let group = group.add_column_metadata(chunk).build().unwrap();
        let footer = footer.set_row_groups(vec![group]).build();
        let mut bytes = Vec::new();
        ParquetMetaDataWriter::new(&mut bytes, &footer).finish().unwrap();
        ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(bytes)).unwrap()
    }

    fn statistics_of(glue_type: &str, footer: &ParquetMetaData) -> Statistics {
        of(&[Column { name: "c".into(), glue_type: glue_type.into() }], footer).remove(0).unwrap()
    }

    #[test]
    fn missing_null_count_of_a_footer_is_unknown_and_not_zero() {
        let one = footer(Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])));
        let extremes = Extremes::Between { min: Value::Whole(1), max: Value::Whole(3), exact: true };
        let counted = Statistics { nulls: Some(1), extremes: extremes.clone() };
        assert_eq!(statistics_of("bigint", &one), counted);
        let uncounted = without_null_count(one, Chunk::int64(Some(1), Some(3), None, None, false));
        assert_eq!(statistics_of("bigint", &uncounted), Statistics { nulls: None, extremes });
    }

    #[test]
    fn nanoseconds_round_down_on_both_sides_of_1970() {
        for (nanos, micros) in [(-1, -1), (-1000, -1), (-1001, -2), (0, 0), (999, 0), (1000, 1)] {
            let footer = footer(Arc::new(TimestampNanosecondArray::from(vec![nanos])));
            let at = Value::Timestamp(micros);
            let expected = Extremes::Between { min: at.clone(), max: at, exact: true };
            assert_eq!(statistics_of("timestamp", &footer).extremes, expected, "{nanos}");
        }
    }
}

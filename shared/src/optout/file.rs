//! Encodes a bucket's records as a Parquet file, and decodes the file.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray,
    builder::{Int32Builder, Int64Builder, StringBuilder},
    cast::AsArray,
    types::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use turntable_core::consent::{
    ConsentRecord, OCCURRED_AT, STATE,
    key::{Key, Type, Value},
    record_columns::RecordColumns,
};
use turntable_core::{
    error::{Error, Result},
    layout,
    schema::Column,
};

/// Returns the columns of an opt-out table with this key.
pub fn columns(key: &Key) -> Vec<Column> {
    let column = |name: &str, glue_type: &str| Column { name: name.into(), glue_type: glue_type.into() };
    let mut columns = key.glue();
    columns.extend([column(STATE, "string"), column(OCCURRED_AT, "timestamp")]);
    columns
}

fn schema(key: &Key) -> SchemaRef {
    let field = |(name, kind): &(String, Type)| {
        let data_type = match kind {
            Type::Bigint => DataType::Int64,
            Type::Int => DataType::Int32,
            Type::String => DataType::Utf8,
        };
        Field::new(name, data_type, true)
    };
    let mut fields: Vec<Field> = key.columns.iter().map(field).collect();
    fields.push(Field::new(STATE, DataType::Utf8, true));
    fields.push(Field::new(OCCURRED_AT, DataType::Timestamp(TimeUnit::Microsecond, None), true));
    Arc::new(Schema::new(fields))
}

/// The number of rows in each Arrow batch, for reading and for writing.
const ROWS_PER_BATCH: usize = 1 << 14;
/// The maximum number of rows for which memory is allocated before a file is read. There is a limit because the row
/// count in the footer may be wrong.
const MAX_PREALLOCATED_ROWS: usize = 1 << 20;

/// Encodes a bucket's sorted records as a Parquet file.
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub fn write(key: &Key, run: &RecordColumns) -> Result<Bytes> {
    let fault = |fault: ParquetError| {
        Error::corrupt("an opt-out bucket can't be encoded as Parquet: this is a bug, please report it")
            .caused_by(fault)
    };
    // Keys and times rarely repeat, so a dictionary would not pay off.
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled(STATE.into(), true);
    for (name, _) in key.columns.iter().filter(|(_, kind)| *kind != Type::String) {
        properties = properties.set_column_encoding(name.as_str().into(), Encoding::DELTA_BINARY_PACKED);
    }
    let schema = schema(key);
    let mut bytes = Vec::with_capacity(run.bytes() / 2 + 4096);
    let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties.build())).map_err(fault)?;
    for start in (0..run.len()).step_by(ROWS_PER_BATCH) {
        let rows = start..(start + ROWS_PER_BATCH).min(run.len());
        let mut arrays = keys(key, run, rows.clone())?;
        let states = rows.clone().map(|row| run.word(row).state.as_str());
        arrays.push(Arc::new(StringArray::from_iter_values(states)));
        arrays.push(Arc::new(TimestampMicrosecondArray::from_iter_values(run.times()[rows].iter().copied())));
        let batch = RecordBatch::try_new(schema.clone(), arrays).expect("the arrays match the schema");
        writer.write(&batch).map_err(fault)?;
    }
    writer.close().map_err(fault)?;
    Ok(bytes.into())
}

enum Builder {
    Bigint(Int64Builder),
    Int(Int32Builder),
    String(StringBuilder),
}

fn keys(key: &Key, run: &RecordColumns, rows: std::ops::Range<usize>) -> Result<Vec<ArrayRef>> {
    let builder = |(_, kind): &(String, Type)| match kind {
        Type::Bigint => Builder::Bigint(Int64Builder::with_capacity(rows.len())),
        Type::Int => Builder::Int(Int32Builder::with_capacity(rows.len())),
        Type::String => Builder::String(StringBuilder::new()),
    };
    let mut builders: Vec<Builder> = key.columns.iter().map(builder).collect();
    for row in rows.clone() {
        let whole = key.split(run.key(row), |at, value| match (&mut builders[at], value) {
            (Builder::Bigint(to), Value::Whole(value)) => to.append_value(value),
            (Builder::Int(to), Value::Whole(value)) => to.append_value(value as i32),
            (Builder::String(to), Value::Text(text)) => to.append_value(text),
            _ => {}
        });
        if !whole {
            return Err(Error::corrupt(
                "an opt-out's key doesn't match the table's key columns: this is a bug, please report it",
            ));
        }
    }
    Ok(builders
        .into_iter()
        .map(|builder| match builder {
            Builder::Bigint(mut from) => Arc::new(from.finish()) as ArrayRef,
            Builder::Int(mut from) => Arc::new(from.finish()),
            Builder::String(mut from) => Arc::new(from.finish()),
        })
        .collect())
}

/// Decodes a file that [`write`] encoded. Returns its records, sorted.
pub fn read(at: &layout::Key, key: &Key, bytes: Bytes) -> Result<RecordColumns> {
    let damaged = || {
        Error::corrupt(format!(
            "{at} is not a valid opt-out bucket: inspect it, then invoke optout with the action reconcile"
        ))
    };
    let fault = |fault: ParquetError| damaged().caused_by(fault);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(fault)?;
    if reader.schema().fields().len() != key.columns.len() + 2 {
        return Err(damaged());
    }
    let rows = reader.metadata().file_metadata().num_rows();
    let mut run =
        RecordColumns::with_capacity(key.width(), usize::try_from(rows).unwrap_or(0).min(MAX_PREALLOCATED_ROWS), 0);
    let mut bytes = Vec::new();
    for batch in reader.with_batch_size(ROWS_PER_BATCH).build().map_err(fault)? {
        let batch = batch.map_err(|fault| damaged().caused_by(fault))?;
        let (keys, rest) = batch.columns().split_at(key.columns.len());
        let states = rest[0].as_string_opt::<i32>().ok_or_else(damaged)?;
        let times = rest[1].as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(damaged)?;
        for row in 0..batch.num_rows() {
            bytes.clear();
            for (at, array) in keys.iter().enumerate() {
                let value = value(array, row).ok_or_else(damaged)?;
                key.push(at, value, &mut bytes).map_err(|_| damaged())?;
            }
            let state = states.value(row).parse().map_err(|_| damaged())?;
            run.push(&bytes, ConsentRecord { occurred_at: times.value(row), state });
        }
    }
    Ok(run.sorted())
}

fn value(array: &ArrayRef, row: usize) -> Option<Value<'_>> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int64 => Some(Value::Whole(array.as_primitive_opt::<Int64Type>()?.value(row))),
        DataType::Int32 => Some(Value::Whole(i64::from(array.as_primitive_opt::<Int32Type>()?.value(row)))),
        DataType::Utf8 => Some(Value::Text(array.as_string_opt::<i32>()?.value(row))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turntable_core::consent::ConsentState;

    #[test]
    fn written_run_is_read_back_unchanged() {
        for types in [&[Type::Bigint][..], &[Type::String], &[Type::String, Type::Int, Type::Bigint]] {
            let named = |(at, kind): (usize, &Type)| (format!("k{at}"), *kind);
            let key = Key { columns: types.iter().enumerate().map(named).collect() };
            for rows in [0, 1, 70_000] {
                let mut run = RecordColumns::new(key.width());
                for row in 0..rows {
                    let mut bytes = Vec::new();
                    for (at, kind) in types.iter().enumerate() {
                        let text = format!("利用者{row:09}");
                        let value = if *kind == Type::String { Value::Text(&text) } else { Value::Whole(row - 9) };
                        key.push(at, value, &mut bytes).unwrap();
                    }
                    run.push(
                        &bytes,
                        ConsentRecord { occurred_at: row * 7 - 3, state: ConsentState::ALL[row as usize % 3] },
                    );
                }
                let run = run.sorted();
                let at = "s3://b/part".parse().unwrap();
                assert_eq!(read(&at, &key, write(&key, &run).unwrap()).unwrap(), run);
            }
        }
    }
}

//! Timestamps finer than a microsecond: there is no place for them in what we write.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, RecordBatch, StructArray,
    cast::AsArray,
    make_array,
    types::{TimestampMicrosecondType, TimestampNanosecondType},
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};

use super::object::Object;
use crate::unrepresentable::Unrepresentable;
use turntable_core::error::{Error, Result};

/// The rows, of which those with finer ones are NULL in that column; or the error, where the dataset wants one. `nanos`
/// has the columns that were INT96 in nanoseconds, and `before` so many rows of the object came earlier.
pub fn settled(
    object: &Object,
    batch: RecordBatch,
    nanos: Option<&RecordBatch>,
    before: u64,
    (schema, unrepresentable): (&SchemaRef, &Unrepresentable),
) -> Result<StructArray> {
    let mut settled: Option<Vec<ArrayRef>> = None;
    for (at, (field, array)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        let nanos = nanos.and_then(|nanos| nanos.column_by_name(field.name()));
        let Some(finer) = finer(array, nanos).filter(|rows| rows.count_set_bits() > 0) else { continue };
        // A column that is not to be there is told of later.
        let Ok(column) = schema.index_of(&field.name().to_lowercase()) else { continue };
        for row in finer.set_indices() {
            let place = format!("{object} row {}", before + row as u64 + 1);
            unrepresentable.null(
                column,
                place,
                "a timestamp finer than a microsecond: round it where it is written",
            )?;
        }
        settled.get_or_insert_with(|| batch.columns().to_vec())[at] = nulled(object, array, &finer)?;
    }
    let Some(columns) = settled else { return Ok(batch.into()) };
    let fields = batch.schema_ref().fields().iter().map(|field| Field::clone(field).with_nullable(true));
    StructArray::try_new(fields.collect(), columns, None).map_err(|error| damaged(object, error))
}

/// The rows that have one; `None` where the type has none. INT96 in microseconds has lost it, and in nanoseconds, which
/// overflow after the year 2262 and wrap around, the difference is still there.
fn finer(array: &ArrayRef, nanos: Option<&ArrayRef>) -> Option<BooleanBuffer> {
    let rows = |is_finer: &dyn Fn(usize) -> bool| {
        BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && is_finer(row))
    };
    let any = |offsets: &[i32], inner: BooleanBuffer| {
        let of = |row: usize| (offsets[row] as usize, (offsets[row + 1] - offsets[row]) as usize);
        rows(&|row| {
            let (start, length) = of(row);
            inner.slice(start, length).count_set_bits() > 0
        })
    };
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let times = array.as_primitive::<TimestampNanosecondType>();
            Some(rows(&|row| times.value(row) % 1000 != 0))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>();
            let nanos = nanos?.as_primitive_opt::<TimestampNanosecondType>()?;
            Some(rows(&|row| nanos.value(row) != micros.value(row).wrapping_mul(1000)))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let nanos = nanos.and_then(|nanos| nanos.as_list_opt::<i32>()).map(|list| list.values());
            Some(any(list.offsets(), finer(list.values(), nanos)?))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries = |entries: &StructArray| Arc::new(entries.clone()) as ArrayRef;
            let nanos = nanos.and_then(|nanos| nanos.as_map_opt()).map(|map| entries(map.entries()));
            Some(any(map.offsets(), finer(&entries(map.entries()), nanos.as_ref())?))
        }
        DataType::Struct(_) => {
            let nanos = nanos.and_then(|nanos| nanos.as_struct_opt());
            let columns = array.as_struct().columns().iter().enumerate();
            let inner = columns.filter_map(|(at, column)| finer(column, nanos.map(|nanos| nanos.column(at))));
            let inner = inner.reduce(|one, other| &one | &other)?;
            Some(rows(&|row| inner.value(row)))
        }
        _ => None,
    }
}

fn nulled(object: &Object, array: &ArrayRef, rows: &BooleanBuffer) -> Result<ArrayRef> {
    let nulls = NullBuffer::union(array.nulls(), Some(&NullBuffer::new(!rows)));
    let data = array.to_data().into_builder().nulls(nulls).build();
    data.map(make_array).map_err(|error| damaged(object, error))
}

fn damaged(object: &Object, error: arrow_schema::ArrowError) -> Error {
    Error::input(format!("{object}: columns that contradict each other")).caused_by(error)
}

//! Handles timestamps more precise than a microsecond, which the Parquet files that Turntable writes can't represent.

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

/// Replaces with NULL every value that is or contains a timestamp more precise than a microsecond, or fails, as the
/// dataset's `on_unrepresentable` says. `nanos` contains the batch's INT96 columns in nanoseconds. `before` is the
/// number of rows in the object before this batch.
pub fn replace_too_precise(
    object: &Object,
    batch: RecordBatch,
    nanos: Option<&RecordBatch>,
    before: u64,
    (schema, unrepresentable): (&SchemaRef, &Unrepresentable),
) -> Result<StructArray> {
    let mut replaced: Option<Vec<ArrayRef>> = None;
    for (at, (field, array)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        let nanos = nanos.and_then(|nanos| nanos.column_by_name(field.name()));
        let Some(too_precise) = too_precise(array, nanos).filter(|rows| rows.count_set_bits() > 0) else { continue };
        // The conversion reports columns that are not in the schema.
        let Ok(column) = schema.index_of(&field.name().to_lowercase()) else { continue };
        for row in too_precise.set_indices() {
            let place = format!("{object} row {}", before + row as u64 + 1);
            unrepresentable.null(
                column,
                place,
                "a timestamp more precise than a microsecond: round it at the source",
            )?;
        }
        replaced.get_or_insert_with(|| batch.columns().to_vec())[at] = with_nulls(object, array, &too_precise)?;
    }
    let Some(columns) = replaced else { return Ok(batch.into()) };
    let fields = batch.schema_ref().fields().iter().map(|field| Field::clone(field).with_nullable(true));
    StructArray::try_new(fields.collect(), columns, None).map_err(|error| inconsistent(object, error))
}

/// Returns which rows contain a timestamp more precise than a microsecond, or `None` if the type can't contain one.
///
/// INT96 values are compared in both units, because the conversion to microseconds drops the excess digits. Values in
/// nanoseconds overflow after the year 2262, but they wrap around, and so does the comparison, so the difference
/// remains visible.
fn too_precise(array: &ArrayRef, nanos: Option<&ArrayRef>) -> Option<BooleanBuffer> {
    let rows = |matches: &dyn Fn(usize) -> bool| {
        BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && matches(row))
    };
    let any = |offsets: &[i32], inner: BooleanBuffer| {
        let range = |row: usize| (offsets[row] as usize, (offsets[row + 1] - offsets[row]) as usize);
        rows(&|row| {
            let (start, length) = range(row);
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
            Some(any(list.offsets(), too_precise(list.values(), nanos)?))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries = |entries: &StructArray| Arc::new(entries.clone()) as ArrayRef;
            let nanos = nanos.and_then(|nanos| nanos.as_map_opt()).map(|map| entries(map.entries()));
            Some(any(map.offsets(), too_precise(&entries(map.entries()), nanos.as_ref())?))
        }
        DataType::Struct(_) => {
            let nanos = nanos.and_then(|nanos| nanos.as_struct_opt());
            let columns = array.as_struct().columns().iter().enumerate();
            let inner = columns.filter_map(|(at, column)| too_precise(column, nanos.map(|nanos| nanos.column(at))));
            let inner = inner.reduce(|one, other| &one | &other)?;
            Some(rows(&|row| inner.value(row)))
        }
        _ => None,
    }
}

/// Returns the array with NULL in `rows`, in addition to the NULLs that it already contains.
fn with_nulls(object: &Object, array: &ArrayRef, rows: &BooleanBuffer) -> Result<ArrayRef> {
    let nulls = NullBuffer::union(array.nulls(), Some(&NullBuffer::new(!rows)));
    let data = array.to_data().into_builder().nulls(nulls).build();
    data.map(make_array).map_err(|error| inconsistent(object, error))
}

fn inconsistent(object: &Object, error: arrow_schema::ArrowError) -> Error {
    Error::input(format!("{object} is damaged: a column's nulls don't match its values: write the file again"))
        .caused_by(error)
}

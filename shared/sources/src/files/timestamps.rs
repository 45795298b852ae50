//! Handles timestamps that Athena and the Parquet files that Turntable writes can't represent: those more precise than
//! a microsecond, and those further from 1970 than the about 292,000 years that fit into 64 bits of microseconds.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, RecordBatch, StructArray,
    cast::AsArray,
    make_array,
    types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType},
};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};

use super::object::Object;
use crate::unrepresentable::Unrepresentable;
use turntable_core::error::{Error, Result};

/// A batch's INT96 columns in other units. The batch itself has them in microseconds.
#[derive(Clone, Copy)]
pub struct Int96<'a> {
    pub nanos: Option<&'a RecordBatch>,
    pub seconds: Option<&'a RecordBatch>,
}

const TOO_PRECISE: &str = "a timestamp more precise than a microsecond: round it at the source";
const OUT_OF_RANGE: &str =
    "a timestamp further from 1970 than about 292,000 years, which microseconds can't hold: correct it at the source";

/// Finds every value that is or contains a timestamp that microseconds can't hold. Depending on the dataset's
/// `on_unrepresentable`, replaces it with NULL or fails. `before` is the number of rows in the object before this
/// batch.
pub fn replace_unrepresentable(
    object: &Object,
    batch: RecordBatch,
    int96: Int96<'_>,
    before: u64,
    (schema, unrepresentable): (&SchemaRef, &Unrepresentable),
) -> Result<StructArray> {
    let mut replaced: Option<Vec<ArrayRef>> = None;
    for (at, (field, array)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        let of = |batch: Option<&'_ RecordBatch>| batch.and_then(|batch| batch.column_by_name(field.name()).cloned());
        let too_precise = rows_with(&too_precise, array, of(int96.nanos).as_ref());
        let out_of_range = rows_with(&out_of_range, array, of(int96.seconds).as_ref());
        let either = match (&too_precise, &out_of_range) {
            (Some(one), Some(other)) => one | other,
            (Some(rows), None) | (None, Some(rows)) => rows.clone(),
            (None, None) => continue,
        };
        if either.count_set_bits() == 0 {
            continue;
        }
        // The conversion reports columns that are not in the schema.
        let Ok(column) = schema.index_of(&field.name().to_lowercase()) else { continue };
        for row in either.set_indices() {
            let place = format!("{object} row {}", before + row as u64 + 1);
            let is_out_of_range = out_of_range.as_ref().is_some_and(|rows| rows.value(row));
            unrepresentable.null(column, place, if is_out_of_range { OUT_OF_RANGE } else { TOO_PRECISE })?;
        }
        replaced.get_or_insert_with(|| batch.columns().to_vec())[at] = with_nulls(object, array, &either)?;
    }
    let Some(columns) = replaced else { return Ok(batch.into()) };
    let fields = batch.schema_ref().fields().iter().map(|field| Field::clone(field).with_nullable(true));
    StructArray::try_new(fields.collect(), columns, None).map_err(|error| inconsistent(object, error))
}

/// Returns which values of a timestamp array are faulty, or `None` if the type can't have a faulty one. `int96` is the
/// same array in another unit.
type Faulty<'a> = &'a dyn Fn(&ArrayRef, Option<&ArrayRef>) -> Option<BooleanBuffer>;

/// Finds timestamps more precise than a microsecond.
///
/// INT96 values are compared in nanoseconds and microseconds, because the conversion to microseconds drops the excess
/// digits. After the year 2262, values in nanoseconds overflow and wrap around. The comparison wraps around in the same
/// way, so it still shows the difference.
fn too_precise(array: &ArrayRef, nanos: Option<&ArrayRef>) -> Option<BooleanBuffer> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let times = array.as_primitive::<TimestampNanosecondType>();
            Some(valid_rows(array, &|row| times.value(row) % 1000 != 0))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>();
            let nanos = nanos?.as_primitive_opt::<TimestampNanosecondType>()?;
            Some(valid_rows(array, &|row| nanos.value(row) != micros.value(row).wrapping_mul(1000)))
        }
        _ => None,
    }
}

/// Finds timestamps that overflow in microseconds.
///
/// INT96 values that overflow have wrapped around in microseconds. In wrapping arithmetic, they differ from the values
/// in seconds by less than a second, so the true value can be computed from both.
fn out_of_range(array: &ArrayRef, seconds: Option<&ArrayRef>) -> Option<BooleanBuffer> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            let times = array.as_primitive::<TimestampSecondType>();
            Some(valid_rows(array, &|row| times.value(row).checked_mul(1_000_000).is_none()))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let times = array.as_primitive::<TimestampMillisecondType>();
            Some(valid_rows(array, &|row| times.value(row).checked_mul(1000).is_none()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>();
            let seconds = seconds?.as_primitive_opt::<TimestampSecondType>()?;
            Some(valid_rows(array, &|row| {
                let (micros, seconds) = (micros.value(row), seconds.value(row));
                let rest = micros.wrapping_sub(seconds.wrapping_mul(1_000_000));
                i128::from(micros) != i128::from(seconds) * 1_000_000 + i128::from(rest)
            }))
        }
        _ => None,
    }
}

fn valid_rows(array: &ArrayRef, matches: &dyn Fn(usize) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && matches(row))
}

/// Returns which rows are or contain a faulty timestamp, or `None` if the type can't contain one. `int96` is the same
/// array with INT96 values in another unit.
fn rows_with(faulty: Faulty, array: &ArrayRef, int96: Option<&ArrayRef>) -> Option<BooleanBuffer> {
    let any = |offsets: &[i32], inner: BooleanBuffer| {
        valid_rows(array, &|row| {
            let (start, length) = (offsets[row] as usize, (offsets[row + 1] - offsets[row]) as usize);
            inner.slice(start, length).count_set_bits() > 0
        })
    };
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let int96 = int96.and_then(|int96| int96.as_list_opt::<i32>()).map(|list| list.values());
            Some(any(list.offsets(), rows_with(faulty, list.values(), int96)?))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries = |entries: &StructArray| Arc::new(entries.clone()) as ArrayRef;
            let int96 = int96.and_then(|int96| int96.as_map_opt()).map(|map| entries(map.entries()));
            Some(any(map.offsets(), rows_with(faulty, &entries(map.entries()), int96.as_ref())?))
        }
        DataType::Struct(_) => {
            let int96 = int96.and_then(|int96| int96.as_struct_opt());
            let columns = array.as_struct().columns().iter().enumerate();
            let inner =
                columns.filter_map(|(at, column)| rows_with(faulty, column, int96.map(|int96| int96.column(at))));
            let inner = inner.reduce(|one, other| &one | &other)?;
            Some(valid_rows(array, &|row| inner.value(row)))
        }
        _ => faulty(array, int96),
    }
}

/// Returns the array with NULL in `rows`, in addition to the NULLs that it already contains.
fn with_nulls(object: &Object, array: &ArrayRef, rows: &BooleanBuffer) -> Result<ArrayRef> {
    let nulls = NullBuffer::union(array.nulls(), Some(&NullBuffer::new(!rows)));
    let data = array.to_data().into_builder().nulls(nulls).build();
    data.map(make_array).map_err(|error| inconsistent(object, error))
}

fn inconsistent(object: &Object, error: arrow_schema::ArrowError) -> Error {
    Error::input(format!("{object} is damaged: a column's nulls contradict its number of values: write the file again"))
        .caused_by(error)
}

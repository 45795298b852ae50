//! Builds the Arrow array of one column from the driver's values, one value at a time.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::{ArrowNativeType, BooleanBufferBuilder, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;
use mysql_async::Value;

use super::{
    types::Wire,
    value::{Fault, bits, clock, days, decimal, time},
};

/// The most bytes of text that a column keeps allocated between two batches.
const MAX_RETAINED_BYTES: usize = 8 << 20;

const UNEXPECTED_TYPE: Fault = Fault::Malformed("a value whose type differs from its column's");
const OUT_OF_RANGE: Fault = Fault::Malformed("a number outside its type's range");

pub struct Column {
    wire: Wire,
    data_type: DataType,
    values: Values,
    nulls: NullBufferBuilder,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int128(Vec<i128>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Bytes { ends: Vec<i32>, bytes: Vec<u8> },
}

impl Column {
    /// Returns an empty column with room for `capacity` values.
    pub fn new(wire: Wire, capacity: usize) -> Column {
        let values = match wire {
            Wire::Boolean => Values::Boolean(BooleanBufferBuilder::new(capacity)),
            Wire::Int8 => Values::Int8(Vec::with_capacity(capacity)),
            Wire::Int16 => Values::Int16(Vec::with_capacity(capacity)),
            Wire::Int32 | Wire::Date => Values::Int32(Vec::with_capacity(capacity)),
            Wire::Int64 | Wire::Timestamp { .. } => Values::Int64(Vec::with_capacity(capacity)),
            Wire::Unsigned | Wire::Decimal { .. } => Values::Int128(Vec::with_capacity(capacity)),
            Wire::Float32 => Values::Float32(Vec::with_capacity(capacity)),
            Wire::Float64 => Values::Float64(Vec::with_capacity(capacity)),
            Wire::Text | Wire::Binary | Wire::Geometry | Wire::Time { .. } => {
                Values::Bytes { ends: new_offsets(capacity), bytes: Vec::new() }
            }
        };
        Column { wire, data_type: wire.data_type(), values, nulls: NullBufferBuilder::new(capacity) }
    }

    /// Appends a null.
    pub fn null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) => values.push(0),
            Values::Int128(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Bytes { ends, .. } => ends.push(ends[ends.len() - 1]),
        }
    }

    /// Appends a value. On a fault, the column is unchanged.
    #[inline]
    pub fn value(&mut self, value: &Value) -> Result<(), Fault> {
        match (&mut self.values, value) {
            (_, Value::NULL) => {
                self.null();
                return Ok(());
            }
            (Values::Bytes { ends, bytes }, Value::Bytes(sent)) => {
                let sent = match self.wire {
                    Wire::Geometry => sent.get(4..).ok_or(Fault::Malformed("a geometry without its SRID"))?,
                    _ => sent,
                };
                let end = end(bytes.len() + sent.len())?;
                bytes.extend_from_slice(sent);
                ends.push(end);
            }
            (Values::Int32(values), value) if self.wire == Wire::Date => values.push(date(value)?.0),
            (Values::Int32(values), value) => values.push(integer(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
            (Values::Int64(values), value) if matches!(self.wire, Wire::Timestamp { .. }) => {
                let (days, micros) = date(value)?;
                values.push(i64::from(days) * 86_400_000_000 + micros);
            }
            (Values::Int64(values), value) => values.push(integer(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
            (Values::Int16(values), value) => values.push(integer(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
            (Values::Int8(values), value) => values.push(integer(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
            (Values::Boolean(values), value) => values.append(match integer(value)? {
                0 => false,
                1 => true,
                _ => {
                    return Err(Fault::Unrepresentable(
                        "a boolean that is neither 0 nor 1: select `column + 0` to get a number",
                    ));
                }
            }),
            (Values::Int128(values), value) => values.push(match (self.wire, value) {
                (Wire::Decimal { precision, scale }, Value::Bytes(text)) => decimal(text, precision, scale)?,
                (Wire::Unsigned, value) => integer(value)?,
                _ => return Err(UNEXPECTED_TYPE),
            }),
            (Values::Float32(values), Value::Float(value)) => values.push(*value),
            (Values::Float64(values), Value::Double(value)) => values.push(*value),
            (Values::Bytes { ends, bytes }, &Value::Time(negative, days, hours, minutes, seconds, micros)) => {
                let Wire::Time { digits } = self.wire else { return Err(UNEXPECTED_TYPE) };
                time((negative, days, hours, minutes, seconds, micros), digits, bytes);
                ends.push(end(bytes.len())?);
            }
            _ => return Err(UNEXPECTED_TYPE),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Returns the values so far and empties the column. The error has the index of the faulty value, from 0.
    pub fn finish(&mut self) -> Result<ArrayRef, (usize, Fault)> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => Arc::new(Int8Array::new(take_values(values), nulls)),
            Values::Int16(values) => Arc::new(Int16Array::new(take_values(values), nulls)),
            Values::Int32(values) if self.wire == Wire::Date => Arc::new(Date32Array::new(take_values(values), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(take_values(values), nulls)),
            Values::Int64(values) if matches!(self.wire, Wire::Timestamp { .. }) => Arc::new(
                TimestampMicrosecondArray::new(take_values(values), nulls).with_data_type(self.data_type.clone()),
            ),
            Values::Int64(values) => Arc::new(Int64Array::new(take_values(values), nulls)),
            Values::Int128(values) => {
                Arc::new(Decimal128Array::new(take_values(values), nulls).with_data_type(self.data_type.clone()))
            }
            Values::Float32(values) => Arc::new(Float32Array::new(take_values(values), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(take_values(values), nulls)),
            Values::Bytes { ends: all, bytes } => {
                let capacity = all.len();
                let ends = OffsetBuffer::new(std::mem::replace(all, new_offsets(capacity)).into());
                let capacity = bytes.len().min(MAX_RETAINED_BYTES);
                let bytes = std::mem::replace(bytes, Vec::with_capacity(capacity));
                if self.data_type == DataType::Binary {
                    return Ok(Arc::new(BinaryArray::new(ends, bytes.into(), nulls)));
                }
                if let Some(at) = first_invalid_utf8(&ends, &bytes) {
                    return Err((at, Fault::Malformed("text that is not valid UTF-8")));
                }
                Arc::new(StringArray::new(ends, bytes.into(), nulls))
            }
        })
    }
}

/// Returns the value of an integer or bit column.
fn integer(value: &Value) -> Result<i128, Fault> {
    match value {
        Value::Int(number) => Ok(i128::from(*number)),
        Value::UInt(number) => Ok(i128::from(*number)),
        Value::Bytes(bytes) => Ok(i128::from(bits(bytes)?)),
        _ => Err(UNEXPECTED_TYPE),
    }
}

/// Returns the days since 1970-01-01 and the microseconds of the day.
fn date(value: &Value) -> Result<(i32, i64), Fault> {
    match *value {
        Value::Date(year, month, day, hour, minute, second, micros) => {
            Ok((days(year, month, day)?, clock(hour, minute, second, micros)))
        }
        _ => Err(UNEXPECTED_TYPE),
    }
}

fn new_offsets(capacity: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(capacity + 1);
    ends.push(0);
    ends
}

/// Returns an Arrow offset, which has 31 bits. Batches are cut far below 2 GB, and one value of MySQL has at most 1 GB.
fn end(length: usize) -> Result<i32, Fault> {
    i32::try_from(length).map_err(|_| Fault::Malformed("more than 2 GB in one batch"))
}

fn take_values<T: ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let capacity = values.len();
    std::mem::replace(values, Vec::with_capacity(capacity)).into()
}

/// Returns the index of the first value that is not valid UTF-8. Checking all bytes at once is much faster than
/// checking value by value.
fn first_invalid_utf8(ends: &OffsetBuffer<i32>, bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes);
    if text.is_ok_and(|text| ends.iter().all(|end| text.is_char_boundary(*end as usize))) {
        return None;
    }
    ends.windows(2).position(|ends| std::str::from_utf8(&bytes[ends[0] as usize..ends[1] as usize]).is_err())
}

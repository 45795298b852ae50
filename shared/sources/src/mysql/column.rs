//! One column on its way from the driver's values to an Arrow array: typed once, filled a value at a time.

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

/// What a column keeps allocated between two batches at most, in bytes of text.
const KEPT: usize = 8 << 20;

const UNEXPECTED: Fault = Fault::Malformed("a value of another type than its column's");
const OUT_OF_RANGE: Fault = Fault::Malformed("a number out of its type's range");

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
    /// An empty column with room for so many values.
    pub fn new(wire: Wire, room: usize) -> Column {
        let values = match wire {
            Wire::Boolean => Values::Boolean(BooleanBufferBuilder::new(room)),
            Wire::Int8 => Values::Int8(Vec::with_capacity(room)),
            Wire::Int16 => Values::Int16(Vec::with_capacity(room)),
            Wire::Int32 | Wire::Date => Values::Int32(Vec::with_capacity(room)),
            Wire::Int64 | Wire::Timestamp { .. } => Values::Int64(Vec::with_capacity(room)),
            Wire::Unsigned | Wire::Decimal { .. } => Values::Int128(Vec::with_capacity(room)),
            Wire::Float32 => Values::Float32(Vec::with_capacity(room)),
            Wire::Float64 => Values::Float64(Vec::with_capacity(room)),
            Wire::Text | Wire::Binary | Wire::Geometry | Wire::Time { .. } => {
                Values::Bytes { ends: ends(room), bytes: Vec::new() }
            }
        };
        Column { wire, data_type: wire.data_type(), values, nulls: NullBufferBuilder::new(room) }
    }

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

    /// Takes a value, or leaves the column as it was.
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
            (Values::Int32(values), value) => values.push(whole(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
            (Values::Int64(values), value) if matches!(self.wire, Wire::Timestamp { .. }) => {
                let (days, micros) = date(value)?;
                values.push(i64::from(days) * 86_400_000_000 + micros);
            }
            (Values::Int64(values), value) => values.push(whole(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
            (Values::Int16(values), value) => values.push(whole(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
            (Values::Int8(values), value) => values.push(whole(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
            (Values::Boolean(values), value) => values.append(match whole(value)? {
                0 => false,
                1 => true,
                _ => {
                    return Err(Fault::Unrepresentable(
                        "a boolean that is neither 0 nor 1: write `column + 0` for a number",
                    ));
                }
            }),
            (Values::Int128(values), value) => values.push(match (self.wire, value) {
                (Wire::Decimal { precision, scale }, Value::Bytes(text)) => decimal(text, precision, scale)?,
                (Wire::Unsigned, value) => whole(value)?,
                _ => return Err(UNEXPECTED),
            }),
            (Values::Float32(values), Value::Float(value)) => values.push(*value),
            (Values::Float64(values), Value::Double(value)) => values.push(*value),
            (Values::Bytes { ends, bytes }, &Value::Time(negative, days, hours, minutes, seconds, micros)) => {
                let Wire::Time { digits } = self.wire else { return Err(UNEXPECTED) };
                time((negative, days, hours, minutes, seconds, micros), digits, bytes);
                ends.push(end(bytes.len())?);
            }
            _ => return Err(UNEXPECTED),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// The values so far, and an empty column again. The error says which value is none, counted from 0.
    pub fn finish(&mut self) -> Result<ArrayRef, (usize, Fault)> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => Arc::new(Int8Array::new(taken(values), nulls)),
            Values::Int16(values) => Arc::new(Int16Array::new(taken(values), nulls)),
            Values::Int32(values) if self.wire == Wire::Date => Arc::new(Date32Array::new(taken(values), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(taken(values), nulls)),
            Values::Int64(values) if matches!(self.wire, Wire::Timestamp { .. }) => {
                Arc::new(TimestampMicrosecondArray::new(taken(values), nulls).with_data_type(self.data_type.clone()))
            }
            Values::Int64(values) => Arc::new(Int64Array::new(taken(values), nulls)),
            Values::Int128(values) => {
                Arc::new(Decimal128Array::new(taken(values), nulls).with_data_type(self.data_type.clone()))
            }
            Values::Float32(values) => Arc::new(Float32Array::new(taken(values), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(taken(values), nulls)),
            Values::Bytes { ends: all, bytes } => {
                let room = all.len();
                let ends = OffsetBuffer::new(std::mem::replace(all, ends(room)).into());
                let room = bytes.len().min(KEPT);
                let bytes = std::mem::replace(bytes, Vec::with_capacity(room));
                if self.data_type == DataType::Binary {
                    return Ok(Arc::new(BinaryArray::new(ends, bytes.into(), nulls)));
                }
                if let Some(at) = not_utf8(&ends, &bytes) {
                    return Err((at, Fault::Malformed("text that is no UTF-8")));
                }
                Arc::new(StringArray::new(ends, bytes.into(), nulls))
            }
        })
    }
}

fn whole(value: &Value) -> Result<i128, Fault> {
    match value {
        Value::Int(number) => Ok(i128::from(*number)),
        Value::UInt(number) => Ok(i128::from(*number)),
        Value::Bytes(bytes) => Ok(i128::from(bits(bytes)?)),
        _ => Err(UNEXPECTED),
    }
}

/// Days, and the microseconds of the day.
fn date(value: &Value) -> Result<(i32, i64), Fault> {
    match *value {
        Value::Date(year, month, day, hour, minute, second, micros) => {
            Ok((days(year, month, day)?, clock(hour, minute, second, micros)))
        }
        _ => Err(UNEXPECTED),
    }
}

fn ends(room: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(room + 1);
    ends.push(0);
    ends
}

/// Arrow counts with 31 bits. A batch is cut long before that; one value of MySQL ends at 1 GB.
fn end(length: usize) -> Result<i32, Fault> {
    i32::try_from(length).map_err(|_| Fault::Malformed("more than 2 GB in one batch"))
}

fn taken<T: ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let room = values.len();
    std::mem::replace(values, Vec::with_capacity(room)).into()
}

/// The first value that is no UTF-8. The whole is looked at at once, which is much faster than value by value.
fn not_utf8(ends: &OffsetBuffer<i32>, bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes);
    if text.is_ok_and(|text| ends.iter().all(|end| text.is_char_boundary(*end as usize))) {
        return None;
    }
    ends.windows(2).position(|ends| std::str::from_utf8(&bytes[ends[0] as usize..ends[1] as usize]).is_err())
}

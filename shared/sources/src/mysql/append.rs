//! Appends one of the driver's values to its column.

use mysql_async::Value;

use super::{
    types::Wire,
    value::{bits, clock, days, decimal, time},
};
use crate::{
    column_builder::{ColumnBuilder, Values},
    value_fault::ValueFault,
};

const UNEXPECTED_TYPE: ValueFault = ValueFault::Malformed("a value whose type differs from its column's");
const OUT_OF_RANGE: ValueFault = ValueFault::Malformed("a number outside its type's range");

/// Appends a value in the column's format. An unrepresentable value leaves the column unchanged.
#[inline]
pub fn append(to: &mut ColumnBuilder, wire: Wire, value: &Value) -> Result<(), ValueFault> {
    match (&mut to.values, value) {
        (_, Value::NULL) => {
            to.append_null();
            return Ok(());
        }
        (Values::Text(to) | Values::Binary(to), Value::Bytes(sent)) => {
            let sent = match wire {
                Wire::Geometry => sent.get(4..).ok_or(ValueFault::Malformed("a geometry without its SRID"))?,
                _ => sent,
            };
            to.append(sent).map_err(ValueFault::Malformed)?;
        }
        (Values::Date(to), value) => to.push(date(value)?.0),
        (Values::Timestamp { values, .. }, value) => {
            let (days, micros) = date(value)?;
            values.push(i64::from(days) * 86_400_000_000 + micros);
        }
        (Values::Int64(to), value) => to.push(integer(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
        (Values::Int32(to), value) => to.push(integer(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
        (Values::Int16(to), value) => to.push(integer(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
        (Values::Int8(to), value) => to.push(integer(value)?.try_into().map_err(|_| OUT_OF_RANGE)?),
        (Values::Boolean(to), value) => to.append(match integer(value)? {
            0 => false,
            1 => true,
            _ => {
                return Err(ValueFault::Unrepresentable(
                    "a boolean that is neither 0 nor 1: select `column + 0` to get a number",
                ));
            }
        }),
        (Values::Decimal { values, .. }, value) => values.push(match (wire, value) {
            (Wire::Decimal { precision, scale }, Value::Bytes(text)) => decimal(text, precision, scale)?,
            (Wire::Unsigned, value) => integer(value)?,
            _ => return Err(UNEXPECTED_TYPE),
        }),
        (Values::Float32(to), Value::Float(value)) => to.push(*value),
        (Values::Float64(to), Value::Double(value)) => to.push(*value),
        (Values::Text(to), &Value::Time(negative, days, hours, minutes, seconds, micros)) => {
            let Wire::Time { digits } = wire else { return Err(UNEXPECTED_TYPE) };
            time((negative, days, hours, minutes, seconds, micros), digits, &mut to.bytes);
            to.end_value().map_err(ValueFault::Malformed)?;
        }
        _ => return Err(UNEXPECTED_TYPE),
    }
    to.append_valid();
    Ok(())
}

/// Returns the number in an integer or bit value.
fn integer(value: &Value) -> Result<i128, ValueFault> {
    match value {
        Value::Int(number) => Ok(i128::from(*number)),
        Value::UInt(number) => Ok(i128::from(*number)),
        Value::Bytes(bytes) => Ok(i128::from(bits(bytes)?)),
        _ => Err(UNEXPECTED_TYPE),
    }
}

/// Returns the date and time in a value, as days since 1970-01-01 and microseconds since midnight.
fn date(value: &Value) -> Result<(i32, i64), ValueFault> {
    match *value {
        Value::Date(year, month, day, hour, minute, second, micros) => {
            Ok((days(year, month, day)?, clock(hour, minute, second, micros)))
        }
        _ => Err(UNEXPECTED_TYPE),
    }
}

//! Appends a value, given as text, to a column whose type is not nested.

use super::{
    infer::{self, Kind},
    text::{self, Reason, Zone},
};
use crate::column_builder::Values;

/// Appends the value that the text represents. With `canonical`, accepts only text that type inference would recognize
/// as the column's type; this is for inferred types, which are based on a sample. Rejected text leaves the column
/// unchanged.
pub fn append(values: &mut Values, text: &[u8], canonical: bool) -> Result<(), Reason> {
    let trimmed = if canonical { text } else { text.trim_ascii() };
    match values {
        Values::Text(to) => to.append(std::str::from_utf8(text).map_err(|_| text::NOT_UTF8)?.as_bytes())?,
        Values::Int64(to) => to.push(text::whole(trimmed, canonical)?),
        Values::Int32(to) => to.push(narrow(trimmed)?),
        Values::Int16(to) => to.push(narrow(trimmed)?),
        Values::Int8(to) => to.push(narrow(trimmed)?),
        Values::Float64(to) => {
            to.push(match canonical {
                true => {
                    infer::preserving_double(text).ok_or("not a number that a double prints with the same digits")?
                }
                false => text::real(trimmed)?,
            });
        }
        Values::Float32(to) => to.push(text::real(trimmed)?),
        Values::Boolean(to) => to.append(text::boolean(trimmed, canonical)?),
        Values::Decimal { values, precision, scale } => {
            if canonical && !Kind::of_number(text).is_decimal() {
                return Err("not a number that a decimal prints with the same digits");
            }
            values.push(text::decimal(trimmed, *precision, *scale)?);
        }
        Values::Date(to) => to.push(text::date(trimmed)?),
        Values::Timestamp { values, utc } => match text::timestamp(trimmed)? {
            (_, Zone::NoTime | Zone::None) if *utc => return Err("missing time zone"),
            (_, Zone::Some) if canonical && !*utc => return Err("unexpected time zone"),
            (_, Zone::NoTime) if canonical => return Err("missing time of day"),
            (micros, _) => values.push(micros),
        },
        Values::Binary(to) => to.append(&text::binary(trimmed)?)?,
        Values::List { .. } | Values::Map { .. } | Values::Struct { .. } => return Err("not JSON"),
    }
    Ok(())
}

/// Parses a whole number into a type narrower than 64 bits.
fn narrow<T: TryFrom<i64>>(text: &[u8]) -> Result<T, Reason> {
    T::try_from(text::whole(text, false)?).map_err(|_| text::OUT_OF_RANGE)
}

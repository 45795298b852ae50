//! Decodes one value and appends it to its column.

use super::{
    numeric,
    value::{WRONG_LENGTH, date, exactly, timestamp, uuid},
    wire::Wire,
};
use crate::{
    column_builder::{ColumnBuilder, Values},
    unrepresentable::ColumnPolicy,
    value_fault::ValueFault,
};

/// Appends a value in the column's wire format. An unrepresentable value becomes null if the policy says so.
#[inline]
pub fn append(to: &mut ColumnBuilder, wire: &Wire, sent: &[u8], policy: ColumnPolicy) -> Result<(), ValueFault> {
    match append_to_values(&mut to.values, wire, sent, policy) {
        Ok(()) => to.append_valid(),
        Err(ValueFault::Unrepresentable(_)) if policy.count_null() => to.append_null(),
        Err(fault) => return Err(fault),
    }
    Ok(())
}

/// Appends a value, but not its validity bit. An unrepresentable value leaves the buffers unchanged.
#[inline]
fn append_to_values(values: &mut Values, wire: &Wire, sent: &[u8], policy: ColumnPolicy) -> Result<(), ValueFault> {
    match (values, wire) {
        (Values::Boolean(to), _) => to.append(u8::from_be_bytes(exactly(sent)?) != 0),
        (Values::Int16(to), _) => to.push(i16::from_be_bytes(exactly(sent)?)),
        (Values::Int32(to), _) => to.push(i32::from_be_bytes(exactly(sent)?)),
        (Values::Int64(to), Wire::Oid) => to.push(u32::from_be_bytes(exactly(sent)?).into()),
        (Values::Int64(to), _) => to.push(i64::from_be_bytes(exactly(sent)?)),
        (Values::Float32(to), _) => to.push(f32::from_be_bytes(exactly(sent)?)),
        (Values::Float64(to), _) => to.push(f64::from_be_bytes(exactly(sent)?)),
        (Values::Decimal { values, precision, scale }, _) => {
            values.push(numeric::decimal(sent, *precision, scale.unsigned_abs())?);
        }
        (Values::Date(to), _) => to.push(date(i32::from_be_bytes(exactly(sent)?))?),
        (Values::Timestamp { values, .. }, _) => values.push(timestamp(i64::from_be_bytes(exactly(sent)?))?),
        (Values::Text(to) | Values::Binary(to), wire) => {
            match wire {
                Wire::Jsonb => match sent.split_first() {
                    Some((1, text)) => to.bytes.extend_from_slice(text),
                    _ => return Err(ValueFault::Malformed("a jsonb with an unknown version")),
                },
                Wire::Uuid => to.bytes.extend_from_slice(&uuid(exactly(sent)?)),
                Wire::NumericText => numeric::text(sent, &mut to.bytes)?,
                _ => to.bytes.extend_from_slice(sent),
            }
            to.end_value().map_err(ValueFault::Malformed)?;
        }
        (Values::List { ends, element, .. }, Wire::List(wire)) => {
            append_elements(element, wire, sent, policy)?;
            ends.push(element.len()).map_err(ValueFault::Malformed)?;
        }
        (Values::Struct { columns, .. }, Wire::Struct(wires)) => append_fields(columns, wires, sent, policy)?,
        (Values::Map { ends, entries, .. }, Wire::Hstore) => {
            append_pairs(entries, sent, policy)?;
            ends.push(entries[0].len()).map_err(ValueFault::Malformed)?;
        }
        _ => unreachable!("a column's builder is made from its wire format"),
    }
    Ok(())
}

/// Reads a big-endian `i32` and advances `sent` past it.
fn take_i32(sent: &mut &[u8]) -> Result<i32, ValueFault> {
    let (number, rest) = sent.split_first_chunk().ok_or(WRONG_LENGTH)?;
    *sent = rest;
    Ok(i32::from_be_bytes(*number))
}

/// Reads a length and a value of that length, and advances `sent` past both. Returns `None` for length -1, which means
/// null.
fn take_value<'a>(sent: &mut &'a [u8]) -> Result<Option<&'a [u8]>, ValueFault> {
    match take_i32(sent)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| WRONG_LENGTH)?;
            let (value, rest) = sent.split_at_checked(length).ok_or(WRONG_LENGTH)?;
            *sent = rest;
            Ok(Some(value))
        }
    }
}

fn append_nullable(
    to: &mut ColumnBuilder,
    wire: &Wire,
    value: Option<&[u8]>,
    policy: ColumnPolicy,
) -> Result<(), ValueFault> {
    match value {
        Some(value) => append(to, wire, value, policy),
        None => {
            to.append_null();
            Ok(())
        }
    }
}

fn ensure_empty(sent: &[u8]) -> Result<(), ValueFault> {
    if sent.is_empty() { Ok(()) } else { Err(WRONG_LENGTH) }
}

/// Decodes the format of `array_send`: the number of dimensions, whether there are nulls, the element's type, the
/// length and lower bound of each dimension, then the elements.
fn append_elements(
    to: &mut ColumnBuilder,
    wire: &Wire,
    mut sent: &[u8],
    policy: ColumnPolicy,
) -> Result<(), ValueFault> {
    let dimensions = take_i32(&mut sent)?;
    let (_has_nulls, _element_type) = (take_i32(&mut sent)?, take_i32(&mut sent)?);
    match dimensions {
        0 => {}
        1 => {
            let (length, _lower_bound) = (take_i32(&mut sent)?, take_i32(&mut sent)?);
            for _ in 0..length {
                append_nullable(to, wire, take_value(&mut sent)?, policy)?;
            }
        }
        2.. => {
            return Err(ValueFault::Unrepresentable("a multidimensional array: cast it to text, or unnest it"));
        }
        _ => return Err(ValueFault::Malformed("an array with a negative number of dimensions")),
    }
    ensure_empty(sent)
}

/// Decodes the format of `record_send`: the number of fields, then the type and value of each.
fn append_fields(
    to: &mut [ColumnBuilder],
    wires: &[(String, Wire)],
    mut sent: &[u8],
    policy: ColumnPolicy,
) -> Result<(), ValueFault> {
    if usize::try_from(take_i32(&mut sent)?) != Ok(to.len()) {
        return Err(ValueFault::Malformed("a row with an unexpected number of fields"));
    }
    for (field, (_, wire)) in to.iter_mut().zip(wires) {
        let _type = take_i32(&mut sent)?;
        append_nullable(field, wire, take_value(&mut sent)?, policy)?;
    }
    ensure_empty(sent)
}

/// Decodes the format of `hstore_send`: the number of pairs, then the key and value of each.
fn append_pairs(
    [keys, values]: &mut [ColumnBuilder; 2],
    mut sent: &[u8],
    policy: ColumnPolicy,
) -> Result<(), ValueFault> {
    for _ in 0..take_i32(&mut sent)? {
        let key = take_value(&mut sent)?.ok_or(ValueFault::Malformed("an hstore with a null key"))?;
        append(keys, &Wire::Text, key, policy)?;
        append_nullable(values, &Wire::Text, take_value(&mut sent)?, policy)?;
    }
    ensure_empty(sent)
}

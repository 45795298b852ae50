//! Decodes the bytes of one value, type by type: the inverse of PostgreSQL's `…_send` functions.

use super::{column::Column, numeric};

/// The reason why a value is refused. It never contains the value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The value is valid, but Arrow or Athena can't represent it. The text states the fix.
    Unrepresentable(&'static str),
    /// The bytes differ from the format that PostgreSQL sends for the type.
    Malformed(&'static str),
}

const WRONG_LENGTH: Fault = Fault::Malformed("a value of the wrong length");

/// PostgreSQL's epoch, 2000-01-01, in days and in microseconds since 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The format of a value that becomes bytes or text.
#[derive(Clone, Copy)]
pub enum Form {
    Binary,
    Text,
    Jsonb,
    Uuid,
    Numeric,
}

impl Form {
    /// Decodes a value and appends it to `out`.
    pub fn append(self, sent: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Form::Binary | Form::Text => out.extend_from_slice(sent),
            Form::Jsonb => match sent.split_first() {
                Some((1, text)) => out.extend_from_slice(text),
                _ => return Err(Fault::Malformed("a jsonb of an unknown version")),
            },
            Form::Uuid => out.extend_from_slice(&uuid(exactly(sent)?)),
            Form::Numeric => numeric::text(sent, out)?,
        }
        Ok(())
    }
}

/// Returns the bytes as an array, or a fault if there are more or fewer than `N`.
#[inline]
pub fn exactly<const N: usize>(sent: &[u8]) -> Result<[u8; N], Fault> {
    sent.try_into().map_err(|_| WRONG_LENGTH)
}

/// Returns an Arrow offset, which has 31 bits. Batches are cut far below 2 GB, and PostgreSQL's values end at 1 GB.
#[inline]
pub fn end(length: usize) -> Result<i32, Fault> {
    i32::try_from(length).map_err(|_| Fault::Malformed("more than 2 GB in one batch"))
}

/// Converts days since 2000-01-01 to days since 1970-01-01.
pub fn date(days: i32) -> Result<i32, Fault> {
    match days {
        i32::MIN | i32::MAX => Err(Fault::Unrepresentable("an infinite date: replace it in the query")),
        _ => days.checked_add(EPOCH_DAYS).ok_or(Fault::Malformed("a date outside PostgreSQL's range")),
    }
}

/// Converts microseconds since 2000-01-01 to microseconds since 1970-01-01.
pub fn timestamp(micros: i64) -> Result<i64, Fault> {
    match micros {
        i64::MIN | i64::MAX => Err(Fault::Unrepresentable("an infinite timestamp: replace it in the query")),
        _ => micros
            .checked_add(EPOCH_MICROS)
            .ok_or(Fault::Unrepresentable("a timestamp after the year 294246: replace it in the query")),
    }
}

fn uuid(sent: [u8; 16]) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in sent.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    text
}

/// Takes an `i32` off the front.
fn take_i32(sent: &mut &[u8]) -> Result<i32, Fault> {
    let (number, rest) = sent.split_first_chunk().ok_or(WRONG_LENGTH)?;
    *sent = rest;
    Ok(i32::from_be_bytes(*number))
}

/// Takes a length and a value of that length off the front. Length -1 is null.
fn take_value<'a>(sent: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
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

fn append(column: &mut Column, value: Option<&[u8]>) -> Result<(), Fault> {
    match value {
        Some(value) => column.value(value),
        None => {
            column.null();
            Ok(())
        }
    }
}

fn ensure_empty(sent: &[u8]) -> Result<(), Fault> {
    if sent.is_empty() { Ok(()) } else { Err(WRONG_LENGTH) }
}

/// Decodes the format of `array_send`: the number of dimensions, whether there are nulls, the element's type, the
/// length and lower bound of each dimension, then the elements.
pub fn list(mut sent: &[u8], element: &mut Column) -> Result<(), Fault> {
    let dimensions = take_i32(&mut sent)?;
    let (_has_nulls, _element_type) = (take_i32(&mut sent)?, take_i32(&mut sent)?);
    match dimensions {
        0 => {}
        1 => {
            let (length, _lower_bound) = (take_i32(&mut sent)?, take_i32(&mut sent)?);
            for _ in 0..length {
                append(element, take_value(&mut sent)?)?;
            }
        }
        2.. => {
            return Err(Fault::Unrepresentable("a multidimensional array: cast it to text, or unnest it"));
        }
        _ => return Err(Fault::Malformed("an array with a negative number of dimensions")),
    }
    ensure_empty(sent)
}

/// Decodes the format of `record_send`: the number of fields, then the type and value of each.
pub fn row(mut sent: &[u8], fields: &mut [Column]) -> Result<(), Fault> {
    if usize::try_from(take_i32(&mut sent)?) != Ok(fields.len()) {
        return Err(Fault::Malformed("a row with an unexpected number of fields"));
    }
    for field in fields {
        let _type = take_i32(&mut sent)?;
        append(field, take_value(&mut sent)?)?;
    }
    ensure_empty(sent)
}

/// Decodes the format of `hstore_send`: the number of pairs, then the key and value of each.
pub fn hstore(mut sent: &[u8], keys: &mut Column, values: &mut Column) -> Result<(), Fault> {
    for _ in 0..take_i32(&mut sent)? {
        keys.value(take_value(&mut sent)?.ok_or(Fault::Malformed("an hstore with a null key"))?)?;
        append(values, take_value(&mut sent)?)?;
    }
    ensure_empty(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_infinities_are_unrepresentable_and_the_values_beside_them_are_not() {
        for infinite in [i32::MIN, i32::MAX] {
            assert!(matches!(date(infinite), Err(Fault::Unrepresentable("an infinite date: replace it in the query"))));
        }
        for infinite in [i64::MIN, i64::MAX] {
            let fault = "an infinite timestamp: replace it in the query";
            assert!(matches!(timestamp(infinite), Err(Fault::Unrepresentable(found)) if found == fault));
        }
        assert!(matches!((date(i32::MIN + 1), date(-EPOCH_DAYS)), (Ok(_), Ok(0))));
        assert!(matches!((timestamp(i64::MIN + 1), timestamp(-EPOCH_MICROS)), (Ok(_), Ok(0))));
    }
}

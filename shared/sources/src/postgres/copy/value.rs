//! What one value's bytes are, type by type: the `…_send` functions of PostgreSQL, backwards.

use super::{column::Column, numeric};

/// Why a value cannot be taken. Never the value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The value is sound, and Arrow or Athena has no place for it. Says what to do.
    Unrepresentable(&'static str),
    /// The bytes are not what PostgreSQL sends for the type.
    Malformed(&'static str),
}

const WRONG_LENGTH: Fault = Fault::Malformed("a value of the wrong length");

/// 2000-01-01, where PostgreSQL counts from, in days and in microseconds since 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// What the bytes of a value are, of the types that become bytes.
#[derive(Clone, Copy)]
pub enum Form {
    Binary,
    Text,
    Jsonb,
    Uuid,
    Numeric,
}

impl Form {
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

#[inline]
pub fn exactly<const N: usize>(sent: &[u8]) -> Result<[u8; N], Fault> {
    sent.try_into().map_err(|_| WRONG_LENGTH)
}

/// Arrow counts with 31 bits. A batch is cut long before that; one value of PostgreSQL ends at 1 GB.
#[inline]
pub fn end(length: usize) -> Result<i32, Fault> {
    i32::try_from(length).map_err(|_| Fault::Malformed("more than 2 GB in one batch"))
}

pub fn date(days: i32) -> Result<i32, Fault> {
    match days {
        i32::MIN | i32::MAX => Err(Fault::Unrepresentable("an infinite date: replace it in the query")),
        _ => days.checked_add(EPOCH_DAYS).ok_or(Fault::Malformed("a date beyond PostgreSQL's own range")),
    }
}

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

/// Takes a number off the front.
fn number(sent: &mut &[u8]) -> Result<i32, Fault> {
    let (number, rest) = sent.split_first_chunk().ok_or(WRONG_LENGTH)?;
    *sent = rest;
    Ok(i32::from_be_bytes(*number))
}

/// Takes a value behind its length off the front; -1 is null.
fn sized<'a>(sent: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
    match number(sent)? {
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

fn at_end(sent: &[u8]) -> Result<(), Fault> {
    if sent.is_empty() { Ok(()) } else { Err(WRONG_LENGTH) }
}

/// `array_send`: dimensions, whether there are nulls, the element's type, each dimension's length and lower bound,
/// and the elements.
pub fn list(mut sent: &[u8], element: &mut Column) -> Result<(), Fault> {
    let dimensions = number(&mut sent)?;
    let (_has_nulls, _element_type) = (number(&mut sent)?, number(&mut sent)?);
    match dimensions {
        0 => {}
        1 => {
            let (length, _lower_bound) = (number(&mut sent)?, number(&mut sent)?);
            for _ in 0..length {
                append(element, sized(&mut sent)?)?;
            }
        }
        2.. => {
            return Err(Fault::Unrepresentable("an array of several dimensions: cast it to text, or unnest it"));
        }
        _ => return Err(Fault::Malformed("an array of negative dimensions")),
    }
    at_end(sent)
}

/// `record_send`: the count of fields, and each one's type and value.
pub fn row(mut sent: &[u8], fields: &mut [Column]) -> Result<(), Fault> {
    if usize::try_from(number(&mut sent)?) != Ok(fields.len()) {
        return Err(Fault::Malformed("a row of another number of fields"));
    }
    for field in fields {
        let _type = number(&mut sent)?;
        append(field, sized(&mut sent)?)?;
    }
    at_end(sent)
}

/// `hstore_send`: the count of pairs, and each one's key and value.
pub fn hstore(mut sent: &[u8], keys: &mut Column, values: &mut Column) -> Result<(), Fault> {
    for _ in 0..number(&mut sent)? {
        keys.value(sized(&mut sent)?.ok_or(Fault::Malformed("an hstore with a key that is null"))?)?;
        append(values, sized(&mut sent)?)?;
    }
    at_end(sent)
}

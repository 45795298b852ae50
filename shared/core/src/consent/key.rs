//! Encodes keys with one or more columns as bytes. Encoded keys sort in the same order as their values.
//!
//! `bigint` and `int` are big-endian with the sign bit flipped. A string is its UTF-8 bytes. If another column follows,
//! each zero byte is escaped as `00 FF` and the string ends with `00 00`. The encoding decides the bucket of a key, so
//! it is part of the layout of published tables and must never change.

use crate::schema::{Column, GlueType};

/// The type of a key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Bigint,
    Int,
    String,
}

/// The columns of a key, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub columns: Vec<(String, Type)>,
}

/// The value of one key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Whole(i64),
    Text(&'a str),
}

impl Type {
    /// Returns the key type for a Glue type, or `None` if a key column can't have that type.
    pub fn of(glue_type: &str) -> Option<Type> {
        match GlueType::parse(glue_type) {
            Ok(GlueType::Bigint) => Some(Type::Bigint),
            Ok(GlueType::Int) => Some(Type::Int),
            Ok(GlueType::String) => Some(Type::String),
            _ => None,
        }
    }

    pub fn glue(self) -> &'static str {
        match self {
            Type::Bigint => "bigint",
            Type::Int => "int",
            Type::String => "string",
        }
    }
}

impl Key {
    /// Returns the length of every encoded key in bytes, or `None` if the length varies, because one of the columns is
    /// a string.
    pub fn width(&self) -> Option<usize> {
        self.columns.iter().map(|(_, kind)| kind.width()).sum()
    }

    /// Returns the key's columns with their Glue types.
    pub fn glue(&self) -> Vec<Column> {
        let column = |(name, kind): &(String, Type)| Column { name: name.clone(), glue_type: kind.glue().into() };
        self.columns.iter().map(column).collect()
    }

    /// Appends the value of column `at` to the encoded key `to`, which contains all columns before it. The error says
    /// why the column can't hold the value, but doesn't contain the value.
    pub fn push(&self, at: usize, value: Value, to: &mut Vec<u8>) -> Result<(), &'static str> {
        let Some((_, kind)) = self.columns.get(at) else { return Err("has no such column") };
        match (kind, value) {
            (Type::Bigint, Value::Whole(value)) => to.extend((value as u64 ^ 1 << 63).to_be_bytes()),
            (Type::Int, Value::Whole(value)) => {
                let value = i32::try_from(value).map_err(|_| "is out of the type's range")?;
                to.extend((value as u32 ^ 1 << 31).to_be_bytes());
            }
            (Type::String, Value::Text(text)) if text.len() > MAX_STRING_BYTES => {
                return Err("is longer than 1024 bytes");
            }
            (Type::String, Value::Text(text)) if at + 1 == self.columns.len() => to.extend(text.as_bytes()),
            (Type::String, Value::Text(text)) => {
                for byte in text.bytes() {
                    to.push(byte);
                    if byte == 0 {
                        to.push(0xFF);
                    }
                }
                to.extend([0, 0]);
            }
            (Type::String, Value::Whole(_)) => return Err("is a number, not a string"),
            (_, Value::Text(_)) => return Err("is not a whole number"),
        }
        Ok(())
    }

    /// Decodes a key, and calls `each` with the index and the value of each column. Returns `false` if the bytes are
    /// not a key that [`Key::push`] encoded. By then, `each` may have been called for some columns.
    pub fn split(&self, mut key: &[u8], mut each: impl FnMut(usize, Value)) -> bool {
        let mut unescaped = Vec::new();
        for (at, (_, kind)) in self.columns.iter().enumerate() {
            match kind {
                Type::Bigint => {
                    let Some((bytes, rest)) = key.split_first_chunk() else { return false };
                    each(at, Value::Whole((u64::from_be_bytes(*bytes) ^ 1 << 63) as i64));
                    key = rest;
                }
                Type::Int => {
                    let Some((bytes, rest)) = key.split_first_chunk() else { return false };
                    each(at, Value::Whole(i64::from((u32::from_be_bytes(*bytes) ^ 1 << 31) as i32)));
                    key = rest;
                }
                Type::String if at + 1 == self.columns.len() => {
                    let Ok(text) = std::str::from_utf8(key) else { return false };
                    each(at, Value::Text(text));
                    key = &[];
                }
                Type::String => {
                    unescaped.clear();
                    loop {
                        let (byte, rest) = match key {
                            [0, 0, rest @ ..] => break key = rest,
                            [0, 0xFF, rest @ ..] => (0, rest),
                            [byte, rest @ ..] if *byte != 0 => (*byte, rest),
                            _ => return false,
                        };
                        unescaped.push(byte);
                        key = rest;
                    }
                    let Ok(text) = std::str::from_utf8(&unescaped) else { return false };
                    each(at, Value::Text(text));
                }
            }
        }
        key.is_empty()
    }
}

/// The maximum length of each string in a key, in bytes, before it is escaped.
const MAX_STRING_BYTES: usize = 1024;

impl Type {
    fn width(self) -> Option<usize> {
        match self {
            Type::Bigint => Some(8),
            Type::Int => Some(4),
            Type::String => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(types: &[Type]) -> Key {
        Key { columns: types.iter().enumerate().map(|(at, kind)| (format!("k{at}"), *kind)).collect() }
    }

    fn bytes(key: &Key, values: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        values.iter().enumerate().for_each(|(at, value)| key.push(at, *value, &mut bytes).unwrap());
        bytes
    }

    #[test]
    fn encoded_keys_sort_like_their_values_and_decode_to_them() {
        let key = key(&[Type::String, Type::Bigint, Type::Int, Type::String]);
        let texts = ["", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "aa", "日本"];
        let wholes = [i64::MIN, -1, 0, 1, i64::MAX];
        let ints = [i64::from(i32::MIN), -7, 0, i64::from(i32::MAX)];
        let mut last: Option<Vec<u8>> = None;
        for first in texts {
            for second in wholes {
                for third in ints {
                    for fourth in texts {
                        let values =
                            [Value::Text(first), Value::Whole(second), Value::Whole(third), Value::Text(fourth)];
                        let bytes = bytes(&key, &values);
                        assert!(last.is_none_or(|last| last < bytes), "{values:?}");
                        let mut back = 0;
                        assert!(key.split(&bytes, |at, value| {
                            assert_eq!(value, values[at]);
                            back += 1;
                        }));
                        assert_eq!(back, 4);
                        last = Some(bytes);
                    }
                }
            }
        }
    }

    #[test]
    fn invalid_keys_and_values_do_not_panic() {
        for types in [&[Type::Bigint][..], &[Type::String, Type::Int], &[Type::Int, Type::String]] {
            for bytes in [&[][..], &[0], &[0, 1], &[0, 0], &[0, 0, 1, 2, 3], &[255; 40]] {
                key(types).split(bytes, |_, _| {});
            }
        }
        let int = key(&[Type::Int]);
        assert_eq!(int.push(0, Value::Whole(1 << 31), &mut Vec::new()), Err("is out of the type's range"));
        assert_eq!(int.push(0, Value::Text("7"), &mut Vec::new()), Err("is not a whole number"));
        assert_eq!(int.push(1, Value::Text("7"), &mut Vec::new()), Err("has no such column"));
    }
}

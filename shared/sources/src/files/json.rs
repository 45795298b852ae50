//! One JSON text → its parts, which stay text: numbers keep all of their digits.
//! What serde_json says about a fault may hold the value, so it is not passed on.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::input::WIDEST;

/// An object's names and values, in their order; names may come twice.
pub struct Pairs<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

pub enum Scalar<'a> {
    /// Without quotes and escapes.
    String(Cow<'a, str>),
    /// A number, true or false.
    Other(&'a str),
    /// An array or an object, as it stands.
    Nested(&'a str),
}

/// Proves that the text is one JSON value; where not, the byte (from 1) at which it stops being one.
pub fn parse(text: &[u8]) -> Result<&RawValue, usize> {
    let text = std::str::from_utf8(text).map_err(|error| error.valid_up_to() + 1)?;
    serde_json::from_str(text).map_err(|error| error.column())
}

pub fn object(text: &str) -> Option<Pairs<'_>> {
    text.starts_with('{').then(|| serde_json::from_str(text).ok())?
}

pub fn array(text: &str) -> Option<Vec<&RawValue>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok())?
}

/// `None` for a string with half of a surrogate pair.
pub fn scalar(text: &str) -> Option<Scalar<'_>> {
    Some(match text.as_bytes().first() {
        Some(b'"') if !text.contains('\\') => Scalar::String(text.get(1..text.len() - 1)?.into()),
        Some(b'"') => Scalar::String(Cow::Owned(serde_json::from_str(text).ok()?)),
        Some(b'[' | b'{') => Scalar::Nested(text),
        _ => Scalar::Other(text),
    })
}

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    if pairs.len() == WIDEST {
                        return Err(serde::de::Error::custom("too many names"));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }

        from.deserialize_map(Object)
    }
}

/// A `Cow<str>` that borrows where it can: serde's own never does.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

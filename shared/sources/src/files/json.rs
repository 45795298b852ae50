//! Splits JSON into its parts. These stay text, so that numbers keep all digits.
//!
//! Errors from serde_json can contain values from the text, so they are never passed on.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::input::MAX_FIELDS;

/// The names and values in a JSON object, in order. A name may appear more than once.
pub struct Pairs<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

pub enum Scalar<'a> {
    /// A string, unescaped and without quotes.
    String(Cow<'a, str>),
    /// A number, `true`, `false` or `null`.
    Other(&'a str),
    /// The JSON text of an array or object.
    Nested(&'a str),
}

/// Checks that the text is exactly one JSON value. The error is the position of the first invalid byte, from 1.
pub fn parse(text: &[u8]) -> Result<&RawValue, usize> {
    let text = std::str::from_utf8(text).map_err(|error| error.valid_up_to() + 1)?;
    serde_json::from_str(text).map_err(|error| error.column())
}

/// Returns the names and values in a JSON object. The error is the reason why the text is not an object, or why its
/// names are not accepted. The text must have passed [`parse`].
pub fn object(text: &str) -> Result<Pairs<'_>, &'static str> {
    if !text.starts_with('{') {
        return Err("not a JSON object");
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        // `Pairs` itself fails only because of too many names.
        Category::Data => "an object with more than 10,000 names",
        // JSON allows unpaired surrogates in strings, and only unescaping finds them.
        _ => "an object with a name that is not valid text",
    })
}

/// Returns the elements in a JSON array, or `None` for any other value.
pub fn array(text: &str) -> Option<Vec<&RawValue>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok())?
}

/// Classifies a JSON value, and unescapes strings. Returns `None` for a string with an unpaired surrogate. The text
/// must have passed [`parse`].
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
                    if pairs.len() == MAX_FIELDS {
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

/// A `Cow<str>` that borrows if possible. Serde's own implementation always allocates.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_tells_too_many_names_from_an_invalid_one() {
        let pairs: Vec<String> = (0..=MAX_FIELDS).map(|at| format!("\"{at}\":1")).collect();
        for (text, why) in [
            ("[1]", "not a JSON object"),
            (&format!("{{{}}}", pairs.join(",")), "an object with more than 10,000 names"),
            (r#"{"\ud800":1}"#, "an object with a name that is not valid text"),
        ] {
            assert_eq!(parse(text.as_bytes()).map(|json| object(json.get()).err()), Ok(Some(why)));
        }
    }
}

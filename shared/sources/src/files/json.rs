//! Splits JSON into its parts. The parts stay text, so that numbers keep all digits.
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

/// Why the text isn't JSON. Contains no values from the text.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line of the first invalid byte, from 1.
    pub line: usize,
    /// The position of the first invalid byte in its line, from 1.
    byte: usize,
    what: &'static str,
    /// The reason that the parser gave, for example what it expected.
    why: String,
}

impl Fault {
    /// Returns the fault without the parser's reason.
    pub fn short(&self) -> String {
        format!("invalid {} at byte {}", self.what, self.byte)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}

/// Checks that the text is exactly one JSON value.
pub fn parse(text: &[u8]) -> Result<&RawValue, Fault> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        Fault { line, byte: before.len() - line_start + 1, what: "UTF-8", why: String::new() }
    })?;
    serde_json::from_str(text).map_err(|error| {
        // Messages about syntax are fixed strings that end with the position.
        let message = error.to_string();
        let why = match error.classify() {
            Category::Syntax | Category::Eof => message.split(" at line ").next().unwrap_or_default().to_owned(),
            Category::Data | Category::Io => String::new(),
        };
        Fault { line: error.line(), byte: error.column(), what: "JSON", why }
    })
}

/// Returns the names and values in a JSON object. The error is the reason why the text is not an object, or why its
/// names are not accepted. The reason is correct only if the text has passed [`parse`].
pub fn object(text: &str) -> Result<Pairs<'_>, &'static str> {
    if !text.starts_with('{') {
        return Err("not a JSON object");
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        // `Pairs` itself fails only because of too many names.
        Category::Data => "an object with more than 10,000 names",
        // JSON allows unpaired surrogates in strings. They are found only when the string is unescaped.
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

/// NaN and the infinities, which aren't valid JSON, and the strings that replace them in JSON text that has passed
/// [`parse`]. No writer writes a string like these, which escape ordinary letters and mix upper-case and lower-case
/// hexadecimal digits.
const NOT_FINITE: [(&str, &str); 3] = [
    ("NaN", r#""\u004E\u0061\u004e""#),
    ("Infinity", r#""\u0049\u006Efi\u006eity""#),
    ("-Infinity", r#""-\u0049\u006Efi\u006eity""#),
];

/// Returns a value's text. For a string that replaces NaN or an infinity, returns the text in the file.
pub fn as_written(text: &str) -> &str {
    NOT_FINITE.iter().find(|(_, spelt)| *spelt == text).map_or(text, |(written, _)| *written)
}

/// Returns whether the JSON value stands for NaN or an infinity, or contains such a value.
pub fn has_not_finite(text: &str) -> bool {
    match text.as_bytes().first() {
        Some(b'"') => is_not_finite(text),
        Some(b'[' | b'{') => {
            memchr::memchr(b'\\', text.as_bytes()).is_some() && NOT_FINITE.iter().any(|(_, spelt)| text.contains(spelt))
        }
        _ => false,
    }
}

/// Replaces NaN and the infinities in the text with strings that are valid JSON. Returns `None` if it contains none of
/// them outside its strings.
pub fn with_not_finite(text: &str) -> Option<String> {
    let (mut spelt, mut rest, mut found) = (String::with_capacity(text.len() + 16), text, false);
    while let Some(at) = rest.find(['"', 'N', 'I', '-']) {
        let (before, from) = rest.split_at(at);
        spelt.push_str(before);
        if from.starts_with('"') {
            let length = string_length(from);
            spelt.push_str(&from[..length]);
            rest = &from[length..];
            continue;
        }
        match NOT_FINITE.iter().find(|(written, _)| from.starts_with(written)) {
            Some((written, json)) => {
                spelt.push_str(json);
                rest = &from[written.len()..];
                found = true;
            }
            None => {
                spelt.push_str(&from[..1]);
                rest = &from[1..];
            }
        }
    }
    spelt.push_str(rest);
    found.then_some(spelt)
}

/// Returns the length of the JSON string at the start of the text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns whether a JSON value is a string that replaces NaN or an infinity.
pub fn is_not_finite(text: &str) -> bool {
    NOT_FINITE.iter().any(|(_, spelt)| *spelt == text)
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
            assert_eq!(parse(text.as_bytes()).map(|json| object(json.get()).err()), Ok(Some(why)), "{why}");
        }
    }
}

//! Infers column types from the first records.
//!
//! Text that a number would not preserve stays a string, such as 007 and +81…, and so does a column with values of
//! different kinds. In CSV, every value is text. In JSON, numbers and booleans keep their kind, and strings are
//! examined only for dates and timestamps.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use serde_json::Value;

use super::text::{self, Zone};
use turntable_parquet::arrow_types::ELEMENT;

/// The maximum number of records that type inference examines.
pub const MAX_SAMPLED_RECORDS: usize = 10_000;

/// The maximum nesting depth of an inferred type. Deeper values stay JSON text in a string.
const MAX_DEPTH: usize = 16;

/// The columns found in the first `records` records.
#[derive(Default)]
pub struct Sample {
    pub records: usize,
    /// Names in lower case, in order of first appearance.
    pub columns: Vec<(String, Kind)>,
}

/// The narrowest type that fits all values seen so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Kind {
    /// Only nulls so far.
    #[default]
    Nothing,
    Boolean,
    /// Whole numbers within ±2<sup>53</sup>, which a double represents exactly too.
    Int,
    /// Whole numbers, at least one of them outside the range of `Int`.
    Long,
    Double,
    Date,
    Timestamp,
    /// Timestamps with a time zone, converted to UTC.
    Instant,
    String,
    List(Box<Kind>),
    /// Names in lower case, in order of first appearance.
    Struct(Vec<(String, Kind)>),
}

impl Kind {
    /// Returns the kind of a CSV field that is not null.
    pub fn of_text(text: &[u8]) -> Kind {
        match text.first() {
            Some(b't' | b'f' | b'T' | b'F') if text::boolean(text, true).is_ok() => Kind::Boolean,
            Some(b'0'..=b'9' | b'-' | b'.') => {
                let number = Kind::of_number(text);
                if number == Kind::String { Kind::of_time(text) } else { number }
            }
            _ => Kind::String,
        }
    }

    /// Returns the kind of number that the text represents, or `String` if it represents none. `12E4` is a string,
    /// because identifiers look like that; `1.2E5` and `12e+04` are doubles.
    pub fn of_number(text: &[u8]) -> Kind {
        if let Ok(whole) = text::whole(text, true) {
            return if whole.unsigned_abs() <= 1 << 53 { Kind::Int } else { Kind::Long };
        }
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let leading_zero = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
        let number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
        let marked = text == b"-0" || digits.iter().any(|byte| matches!(byte, b'.' | b'+' | b'-'));
        if !leading_zero && marked && digits.iter().all(number) && text::real::<f64>(text).is_ok() {
            Kind::Double
        } else {
            Kind::String
        }
    }

    fn of_time(text: &[u8]) -> Kind {
        match text::timestamp(text) {
            Ok((_, Zone::NoTime)) => Kind::Date,
            Ok((_, Zone::None)) => Kind::Timestamp,
            Ok((_, Zone::Some)) => Kind::Instant,
            Err(_) => Kind::String,
        }
    }

    /// Returns the kind of a JSON value that is nested `depth` levels deep. An object with two names that differ only
    /// in case is a string, and so is an array or object at the maximum depth.
    pub fn of_json(value: &Value, depth: usize) -> Kind {
        match value {
            Value::Null => Kind::Nothing,
            Value::Bool(_) => Kind::Boolean,
            Value::Number(number) => match number.as_i64() {
                Some(whole) if whole.unsigned_abs() <= 1 << 53 => Kind::Int,
                Some(_) => Kind::Long,
                None if number.is_u64() || !number.as_f64().is_some_and(f64::is_finite) => Kind::String,
                None => Kind::Double,
            },
            Value::String(text) => Kind::of_time(text.as_bytes()),
            Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => Kind::String,
            Value::Array(values) => {
                let element = values.iter().map(|value| Kind::of_json(value, depth + 1));
                Kind::List(Box::new(element.fold(Kind::Nothing, Kind::and)))
            }
            Value::Object(pairs) => {
                let fields = pairs.iter().map(|(name, value)| (name.to_lowercase(), Kind::of_json(value, depth + 1)));
                let fields: Vec<(String, Kind)> = fields.collect();
                let duplicate =
                    fields.iter().enumerate().any(|(at, (name, _))| fields[..at].iter().any(|(n, _)| n == name));
                if duplicate { Kind::String } else { Kind::Struct(fields) }
            }
        }
    }

    /// Returns the narrowest kind that fits the values of both, or `String` if no other kind does.
    pub fn and(self, other: Kind) -> Kind {
        match (self, other) {
            (Kind::Nothing, kind) | (kind, Kind::Nothing) => kind,
            (Kind::List(one), Kind::List(other)) => Kind::List(Box::new(one.and(*other))),
            (Kind::Struct(mut fields), Kind::Struct(others)) => {
                for (name, kind) in others {
                    add(&mut fields, name, kind);
                }
                Kind::Struct(fields)
            }
            (one, other) if one == other => one,
            (Kind::Int | Kind::Long, Kind::Int | Kind::Long) => Kind::Long,
            (Kind::Int | Kind::Double, Kind::Int | Kind::Double) => Kind::Double,
            _ => Kind::String,
        }
    }

    /// Returns the Arrow type of a column of this kind.
    pub fn data_type(&self) -> DataType {
        match self {
            Kind::Boolean => DataType::Boolean,
            Kind::Int | Kind::Long => DataType::Int64,
            Kind::Double => DataType::Float64,
            Kind::Date => DataType::Date32,
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::List(element) => DataType::List(Arc::new(Field::new(ELEMENT, element.data_type(), true))),
            Kind::Struct(fields) if !fields.is_empty() => DataType::Struct(self::fields(fields)),
            Kind::Nothing | Kind::String | Kind::Struct(_) => DataType::Utf8,
        }
    }
}

/// Merges a value's kind into the kind of the column called `name`. Appends the column if it is new.
pub fn add(columns: &mut Vec<(String, Kind)>, name: String, kind: Kind) {
    match columns.iter_mut().find(|(column, _)| *column == name) {
        Some((_, known)) => *known = std::mem::take(known).and(kind),
        None => columns.push((name, kind)),
    }
}

/// Returns the Arrow fields of the columns, all nullable.
pub fn fields(columns: &[(String, Kind)]) -> Fields {
    columns.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Kind {
        texts.iter().map(|text| Kind::of_text(text.as_bytes())).fold(Kind::Nothing, Kind::and)
    }

    #[test]
    fn type_is_inferred_only_if_it_preserves_the_text() {
        for (texts, kind) in [
            (&["1", "-20", "0"][..], Kind::Int),
            (&["1", "9223372036854775807"], Kind::Long),
            (&["9223372036854775808"], Kind::String),
            (&["1", "2.5", "1e-07", "-0", ".5"], Kind::Double),
            (&["9007199254740993", "2.5"], Kind::String),
            (&["007"], Kind::String),
            (&["00.7"], Kind::String),
            (&["+819012345678"], Kind::String),
            (&["090-1234-5678"], Kind::String),
            (&["12E4"], Kind::String),
            (&["1.2E5"], Kind::Double),
            (&["nan", "inf"], Kind::String),
            (&["true", "False"], Kind::Boolean),
            (&["t"], Kind::String),
            (&["true", "1"], Kind::String),
            (&["2024-01-31"], Kind::Date),
            (&["2024-02-30"], Kind::String),
            (&["2024-01-31T00:00:00", "2024-01-31 00:00:00.5"], Kind::Timestamp),
            (&["2024-01-31T00:00:00Z", "2024-01-31 00:00:00+09"], Kind::Instant),
            (&["2024-01-31T00:00:00Z", "2024-01-31 00:00:00"], Kind::String),
            (&["2024-01-31", "2024-01-31 00:00:00"], Kind::String),
            (&[], Kind::Nothing),
        ] {
            assert_eq!(of(texts), kind, "{texts:?}");
        }
    }

    #[test]
    fn nested_json_becomes_nested_types() {
        let kind = |texts: &[&str]| {
            let values = texts.iter().map(|text| serde_json::from_str(text).unwrap());
            values.map(|value| Kind::of_json(&value, 0)).fold(Kind::Nothing, Kind::and).data_type()
        };
        let glue = |texts| turntable_parquet::arrow_types::glue_type(&kind(texts)).unwrap().to_string();
        assert_eq!(
            glue(&[r#"{"A":1,"b":null}"#, r#"{"c":[{"d":"2024-01-31"}],"a":2.5}"#]),
            "struct<a:double,b:string,c:array<struct<d:date>>>"
        );
        assert_eq!(glue(&["[]", "null"]), "array<string>");
        assert_eq!(glue(&["{}"]), "string");
        assert_eq!(glue(&[r#"{"a":1,"A":2}"#]), "string");
        assert_eq!(glue(&["[1]", "{\"a\":1}"]), "string");
        assert_eq!(glue(&["18446744073709551615"]), "string");
        assert_eq!(glue(&["\"12\""]), "string");
        assert!(glue(&[&("[".repeat(100) + &"]".repeat(100))]).ends_with("<string>>>>>>>>>>>>>>>>"));
    }
}

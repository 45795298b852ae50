//! Infers column types from the first records.
//!
//! Text that a number would not preserve, such as 007 and +81…, stays a string, and so does a column with values of
//! different kinds. Numbers with a fraction become doubles if a double prints each of them with the same digits, such
//! as 1.5 and 2.0; otherwise, such as for 1.10, they become decimals that hold every digit. In CSV, every value is
//! text. In JSON, numbers and booleans keep their kind, and strings are checked only for dates and timestamps.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use serde_json::{Value, value::RawValue};

use super::{
    json::{self, Pairs, Scalar},
    number::{self, Digits},
    text::{self, Zone},
};
use turntable_core::config::Nested;
use turntable_parquet::arrow_types::{ELEMENT, map_of};

/// The maximum number of records that type inference reads.
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
    /// Whole numbers within ±2<sup>53</sup>, which a double also represents exactly.
    Int,
    /// Whole numbers, at least one of them outside the range of `Int`.
    Long,
    /// Numbers, at least one of them with a fraction or an exponent.
    Number(Number),
    Date,
    Timestamp,
    /// Timestamps with a time zone, converted to UTC.
    Instant,
    String,
    List(Box<Kind>),
    /// Objects that are maps, with the kind of their values.
    Map(Box<Kind>),
    /// Names in lower case, in order of first appearance.
    Struct(Vec<(String, Kind)>),
}

/// Which types can hold all numbers in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// Whether a double prints each number with the same digits.
    is_double: bool,
    /// The digits that a decimal needs to hold each number. `None` if no decimal can.
    decimal: Option<Digits>,
}

/// The [`Number`] that stands for [`Kind::Int`] or [`Kind::Long`], with the digits of the largest value.
const INT: Number = Number { is_double: true, decimal: Some(Digits { whole: 16, fraction: 0 }) };
const LONG: Number = Number { is_double: false, decimal: Some(Digits { whole: 19, fraction: 0 }) };

/// The kind for NaN and the infinities, which only floating-point types can hold.
const NOT_FINITE: Kind = Kind::Number(Number { is_double: true, decimal: None });

/// The largest precision of a 64-bit decimal, and the largest precision of any decimal.
const PRECISIONS: [u8; 2] = [18, 38];

/// Returns whether doubles hold the number and all whole numbers between it and 0.
fn is_double_integer(whole: i64) -> bool {
    whole.unsigned_abs() <= 1 << 53
}

fn has_leading_zero(number: &[u8]) -> bool {
    matches!(number.strip_prefix(b"-").unwrap_or(number), [b'0', b'0'..=b'9', ..])
}

/// Returns the number that the text represents, or `None` if a double doesn't preserve it, by the rules of
/// [`Kind::of_json_number`].
pub fn preserving_double(text: &[u8]) -> Option<f64> {
    match text::whole(text, true) {
        Ok(whole) => is_double_integer(whole).then_some(whole as f64),
        Err(_) if has_leading_zero(text) => None,
        Err(_) => number::double(text),
    }
}

impl Number {
    fn and(self, other: Number) -> Number {
        let decimal = self.decimal.zip(other.decimal).map(|(one, other)| one.and(other));
        Number { is_double: self.is_double && other.is_double, decimal }
    }

    /// Returns the kind for these numbers: `String` if no number type holds every digit.
    fn kind(self) -> Kind {
        if self.is_double || self.data_type() != DataType::Utf8 { Kind::Number(self) } else { Kind::String }
    }

    /// Returns the Arrow type for these numbers. A decimal gets more digits before the decimal point than any value so
    /// far.
    fn data_type(self) -> DataType {
        if self.is_double {
            return DataType::Float64;
        }
        let fits = |digits: Digits| PRECISIONS.into_iter().find(|most| digits.total() <= u64::from(*most));
        match self.decimal.and_then(|digits| fits(digits).zip(i8::try_from(digits.fraction).ok())) {
            Some((precision, scale)) => DataType::Decimal128(precision, scale),
            None => DataType::Utf8,
        }
    }
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

    /// Returns the kind of number that the text represents, or `String` if no number preserves it. `12E4` is a string,
    /// because identifiers look like that; `1.2E5` and `12e+04` are numbers.
    pub fn of_number(text: &[u8]) -> Kind {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let marked = text == b"-0" || digits.iter().any(|byte| matches!(byte, b'.' | b'+' | b'-'));
        Kind::of_json_number(text, marked)
    }

    /// Does the same as [`Kind::of_number`] for a number in JSON, where `12E4` is a number too. If `is_marked` is
    /// false, only whole numbers count as numbers.
    pub fn of_json_number(text: &[u8], is_marked: bool) -> Kind {
        if let Ok(whole) = text::whole(text, true) {
            return if is_double_integer(whole) { Kind::Int } else { Kind::Long };
        }
        if has_leading_zero(text) || !is_marked || !number::is_number(text) {
            return Kind::String;
        }
        Number { is_double: number::prints_back(text), decimal: number::digits(text) }.kind()
    }

    fn of_time(text: &[u8]) -> Kind {
        match text::timestamp(text) {
            Ok((_, Zone::NoTime)) => Kind::Date,
            Ok((_, Zone::None)) => Kind::Timestamp,
            Ok((_, Zone::Some)) => Kind::Instant,
            Err(_) => Kind::String,
        }
    }

    /// Returns the kind of a JSON value that is nested `depth` levels deep. `nested` is the type for objects. An object
    /// with two names that differ only in case becomes a string, and so does an array or object at the maximum depth.
    pub fn of_json(value: &RawValue, depth: usize, nested: Nested) -> Kind {
        let text = value.get();
        match json::scalar(text) {
            Some(Scalar::String(_)) if json::is_not_finite(text) => NOT_FINITE,
            Some(Scalar::String(text)) => Kind::of_time(text.as_bytes()),
            Some(Scalar::Other("null")) => Kind::Nothing,
            Some(Scalar::Other("true" | "false")) => Kind::Boolean,
            Some(Scalar::Other(number)) => {
                Kind::of_json_number(number.as_bytes(), number.contains(['.', 'e', 'E']) || number == "-0")
            }
            // The value is nested too deeply for serde_json's `Value` parser, which recurses.
            Some(Scalar::Nested(text)) if depth == 0 && serde_json::from_str::<Value>(text).is_err() => Kind::String,
            Some(Scalar::Nested(text)) if depth < MAX_DEPTH => Kind::of_nested(text, depth, nested),
            Some(Scalar::Nested(_)) | None => Kind::String,
        }
    }

    /// Returns the kind of an array or object.
    fn of_nested(text: &str, depth: usize, nested: Nested) -> Kind {
        if let Some(values) = json::array(text) {
            let element = values.iter().map(|value| Kind::of_json(value, depth + 1, nested));
            return Kind::List(Box::new(element.fold(Kind::Nothing, Kind::and)));
        }
        let Ok(Pairs(pairs)) = json::object(text) else { return Kind::String };
        let values = pairs.iter().map(|(name, value)| (name.to_lowercase(), Kind::of_json(value, depth + 1, nested)));
        match nested {
            Nested::Json => Kind::String,
            Nested::Map => Kind::Map(Box::new(values.map(|(_, kind)| kind).fold(Kind::Nothing, Kind::and))),
            Nested::Struct => {
                let fields: Vec<(String, Kind)> = values.collect();
                let duplicate =
                    fields.iter().enumerate().any(|(at, (name, _))| fields[..at].iter().any(|(n, _)| n == name));
                if duplicate { Kind::String } else { Kind::Struct(fields) }
            }
        }
    }

    /// Returns the narrowest kind that fits the values of both kinds, or `String` if no other kind does.
    pub fn and(self, other: Kind) -> Kind {
        match (self, other) {
            (Kind::Nothing, kind) | (kind, Kind::Nothing) => kind,
            (Kind::List(one), Kind::List(other)) => Kind::List(Box::new(one.and(*other))),
            (Kind::Map(one), Kind::Map(other)) => Kind::Map(Box::new(one.and(*other))),
            (Kind::Struct(mut fields), Kind::Struct(others)) => {
                for (name, kind) in others {
                    add(&mut fields, name, kind);
                }
                Kind::Struct(fields)
            }
            (one, other) => match (one.number(), other.number()) {
                _ if one == other => one,
                (Some(_), Some(_)) if one.is_whole() && other.is_whole() => Kind::Long,
                (Some(one), Some(other)) => one.and(other).kind(),
                _ => Kind::String,
            },
        }
    }

    /// Returns whether a double prints the numbers with the same digits.
    pub fn is_double(&self) -> bool {
        self.number().is_some_and(|number| number.is_double)
    }

    /// Returns whether a decimal with enough digits holds the numbers.
    pub fn is_decimal(&self) -> bool {
        self.number().is_some_and(|number| number.decimal.is_some())
    }

    fn is_whole(&self) -> bool {
        matches!(self, Kind::Int | Kind::Long)
    }

    /// Returns which types can hold all the numbers, or `None` if the values aren't numbers.
    fn number(&self) -> Option<Number> {
        match self {
            Kind::Int => Some(INT),
            Kind::Long => Some(LONG),
            Kind::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the Arrow type of a column of this kind.
    pub fn data_type(&self) -> DataType {
        match self {
            Kind::Boolean => DataType::Boolean,
            Kind::Int | Kind::Long => DataType::Int64,
            Kind::Number(number) => number.data_type(),
            Kind::Date => DataType::Date32,
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::List(element) => DataType::List(Arc::new(Field::new(ELEMENT, element.data_type(), true))),
            Kind::Map(value) => map_of(DataType::Utf8, value.data_type()),
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
            (&["007"], Kind::String),
            (&["00.7"], Kind::String),
            (&["+819012345678"], Kind::String),
            (&["090-1234-5678"], Kind::String),
            (&["12E4"], Kind::String),
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
    fn number_with_a_fraction_keeps_every_digit() {
        for (texts, data_type) in [
            (&["1", "2.5", "1e-07", "-0", ".5"][..], DataType::Float64),
            (&["1.2E5", "2.0", "0.0", "-0.0", "100.0", "0.1", "1e22"], DataType::Utf8),
            (&["1.2E5", "2.0", "0.0", "-0.0", "100.0", "0.1", "1.0E22"], DataType::Float64),
            (&["0.30000000000000004", "5e-324", "1.7976931348623157e308"], DataType::Float64),
            (&["1.10", "2.5"], DataType::Decimal128(18, 2)),
            (&["2.5", "1.10", "7"], DataType::Decimal128(18, 2)),
            (&["1234567890123456.78"], DataType::Decimal128(18, 2)),
            (&["1234567890123456.78", "-1.125"], DataType::Decimal128(38, 3)),
            (&["9007199254740993", "2.5"], DataType::Decimal128(38, 1)),
            (&["0.10000000000000000000000000000000000001"], DataType::Decimal128(38, 38)),
            (&["0.100000000000000000000000000000000000001"], DataType::Utf8),
            (&["123456789012345678901234567890123456789.5"], DataType::Utf8),
            (&["1e-400"], DataType::Utf8),
            (&["1.0e400"], DataType::Utf8),
            (&["1.5", "1e-400"], DataType::Utf8),
            (&["1.10", "1e-07"], DataType::Utf8),
            (&["1.20e-07"], DataType::Utf8),
            (&["-0.00"], DataType::Utf8),
            (&["1.2.3"], DataType::Utf8),
            (&["1-2"], DataType::Utf8),
        ] {
            assert_eq!(of(texts).data_type(), data_type, "{texts:?}");
        }
    }

    #[test]
    fn nested_json_becomes_nested_types() {
        let kind = |texts: &[&str], nested| {
            let values = texts.iter().map(|text| json::parse(text.as_bytes()).unwrap());
            values.map(|value| Kind::of_json(value, 0, nested)).fold(Kind::Nothing, Kind::and).data_type()
        };
        let of = |texts: &[&str], nested| {
            turntable_parquet::arrow_types::glue_type(&kind(texts, nested)).unwrap().to_string()
        };
        let glue = |texts: &[&str]| of(texts, Nested::Struct);
        let objects = [r#"{"a:b":{"c":1}}"#, r#"{"d":{"e":2.5}}"#];
        assert_eq!(of(&objects, Nested::Map), "map<string,map<string,double>>");
        assert_eq!(of(&objects, Nested::Json), "string");
        assert_eq!(of(&[r#"[{"a":1}]"#], Nested::Json), "array<string>");
        assert_eq!(glue(&["1e5", "2.5", "3"]), "double");
        assert_eq!(glue(&["1.10"]), "decimal(18,2)");
        assert_eq!(glue(&["1234567890123456.78", "1e400"]), "string");
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

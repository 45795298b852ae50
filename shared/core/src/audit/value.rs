//! A value from a column's statistics, and how it compares with a check's bound.

use std::cmp::Ordering;

use jiff::{Timestamp, civil};

use crate::{
    config::{Bound, Range},
    schema::GlueType,
};

/// One value in a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Whole(i64),
    Number(f64),
    /// `unscaled` / 10^`scale`.
    Decimal {
        unscaled: i128,
        scale: u8,
    },
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01 UTC. A timestamp without a zone counts as UTC.
    Timestamp(i64),
    /// The bytes of a string, which are compared lexicographically, as in Athena and Parquet.
    Text(Vec<u8>),
}

impl Value {
    /// Compares two values in the same column. Returns `None` if their types or scales differ, or if one is NaN.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Whole(a), Value::Whole(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
            (Value::Decimal { unscaled: a, scale }, Value::Decimal { unscaled: b, scale: other }) => {
                (scale == other).then(|| a.cmp(b))
            }
            (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Compares the value with a bound. The error describes a bound that would be valid for this column.
    pub fn against(&self, bound: &Bound) -> Result<Ordering, &'static str> {
        match (self, bound) {
            (Value::Whole(a), Bound::Whole(b)) => Some(a.cmp(b)),
            (Value::Whole(a), Bound::Number(b)) => (*a as f64).partial_cmp(b),
            (Value::Number(a), Bound::Whole(b)) => a.partial_cmp(&(*b as f64)),
            (Value::Number(a), Bound::Number(b)) => a.partial_cmp(b),
            (Value::Decimal { unscaled, scale }, Bound::Whole(b)) => {
                let scaled = 10i128.checked_pow(u32::from(*scale)).and_then(|one| one.checked_mul(i128::from(*b)));
                // If scaling overflows, the bound is beyond every decimal with 38 digits, so its sign decides.
                Some(scaled.map_or(0.cmp(b), |scaled| unscaled.cmp(&scaled)))
            }
            (Value::Decimal { unscaled, scale }, Bound::Number(b)) => {
                (*unscaled as f64 / 10f64.powi(i32::from(*scale))).partial_cmp(b)
            }
            (Value::Date(day), Bound::Text(text)) => text.parse().ok().map(|date| day.cmp(&days(date))),
            (Value::Timestamp(micros), Bound::Text(text)) => moment(text).map(|at| micros.cmp(&at.as_microsecond())),
            (Value::Text(a), Bound::Text(b)) => Some(a.as_slice().cmp(b.as_bytes())),
            _ => None,
        }
        .ok_or(match self {
            Value::Whole(_) | Value::Number(_) | Value::Decimal { .. } => "a number",
            Value::Date(_) => "a date such as \"2026-01-31\"",
            Value::Timestamp(_) => "a time such as \"2026-01-31T00:00:00Z\"",
            Value::Text(_) => "a string",
        })
    }

    /// Returns the moment that the value stands for: midnight UTC for a date, the time itself for a timestamp. Returns
    /// `None` for other types, and if [`Timestamp`] can't represent the moment.
    pub fn moment(&self) -> Option<Timestamp> {
        match self {
            Value::Date(day) => Timestamp::from_second(i64::from(*day) * 86_400).ok(),
            Value::Timestamp(micros) => Timestamp::from_microsecond(*micros).ok(),
            _ => None,
        }
    }
}

/// Returns why a `range` check with these bounds can't check a column of this Glue type, or `None` if it can.
pub fn range_fault(glue_type: &str, range: &Range) -> Option<String> {
    let value = match GlueType::parse(glue_type).ok()? {
        GlueType::Tinyint | GlueType::Smallint | GlueType::Int | GlueType::Bigint => Value::Whole(0),
        GlueType::Float | GlueType::Double => Value::Number(0.0),
        GlueType::Decimal { scale, .. } => Value::Decimal { unscaled: 0, scale },
        GlueType::Date => Value::Date(0),
        GlueType::Timestamp => Value::Timestamp(0),
        GlueType::String => Value::Text(Vec::new()),
        GlueType::Boolean | GlueType::Binary | GlueType::Array(_) | GlueType::Map(..) | GlueType::Struct(_) => {
            return Some(format!("its type is {glue_type}, which has no range: remove it, or use sql instead"));
        }
    };
    let expected = [&range.min, &range.max].into_iter().flatten().find_map(|bound| value.against(bound).err())?;
    Some(format!("its type is {glue_type}: expected {expected} as a bound"))
}

/// Returns why `fresh` can't check a column of this Glue type, or `None` if it can.
pub fn fresh_fault(glue_type: &str) -> Option<String> {
    let is_time = matches!(GlueType::parse(glue_type), Ok(GlueType::Date | GlueType::Timestamp));
    (!is_time).then(|| format!("its type is {glue_type}: expected a column of dates or timestamps"))
}

/// Returns the number of days since 1970-01-01.
fn days(date: civil::Date) -> i32 {
    // Can't overflow, because jiff's years range from -9999 to 9999.
    (date - civil::date(1970, 1, 1)).get_days()
}

/// Parses a date or a time. Without a UTC offset, it is in UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let civil = |text: &str| text.parse::<civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    text.parse().ok().or_else(|| civil(text).map(|zoned| zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_with_bounds_of_their_type() {
        use Ordering::{Equal, Greater, Less};
        let text = |text: &str| Bound::Text(text.into());
        let cents = |unscaled| Value::Decimal { unscaled, scale: 2 };
        for (value, bound, expected) in [
            (Value::Whole(i64::MAX), Bound::Whole(i64::MAX), Equal),
            (Value::Whole(1), Bound::Number(1.5), Less),
            (Value::Number(0.5), Bound::Whole(0), Greater),
            (cents(1050), Bound::Whole(10), Greater),
            (cents(1050), Bound::Number(10.5), Equal),
            (Value::Decimal { unscaled: i128::MAX, scale: 38 }, Bound::Whole(i64::MAX), Less),
            (Value::Decimal { unscaled: i128::MIN, scale: 38 }, Bound::Whole(i64::MIN), Greater),
            (Value::Date(0), text("1970-01-02"), Less),
            (Value::Date(-719_528), text("0000-01-01"), Equal),
            (Value::Timestamp(0), text("1970-01-01T09:00:00+09:00"), Equal),
            (Value::Timestamp(1), text("1970-01-01 00:00:00"), Greater),
            (Value::Timestamp(-1), text("1970-01-01"), Less),
            (Value::Text("é".into()), text("z"), Greater),
        ] {
            assert_eq!(value.against(&bound), Ok(expected), "{value:?} {bound:?}");
        }
    }

    #[test]
    fn bound_of_another_type_is_an_error_that_describes_a_valid_one() {
        assert_eq!(Value::Whole(1).against(&Bound::Text("1".into())), Err("a number"));
        assert_eq!(Value::Date(1).against(&Bound::Text("tomorrow".into())), Err("a date such as \"2026-01-31\""));
        assert_eq!(Value::Timestamp(1).against(&Bound::Whole(1)), Err("a time such as \"2026-01-31T00:00:00Z\""));
        assert_eq!(Value::Text(vec![]).against(&Bound::Whole(1)), Err("a string"));
        assert_eq!(Value::Whole(1).compare(&Value::Text(vec![])), None);
    }

    #[test]
    fn a_check_suits_the_type_of_its_column() {
        let range = |bound: Bound| Range { min: Some(bound), max: None };
        let text = |text: &str| range(Bound::Text(text.into()));
        for (glue_type, range, expected) in [
            ("int", range(Bound::Whole(0)), None),
            ("decimal(9,2)", range(Bound::Number(0.5)), None),
            ("date", text("2026-01-31"), None),
            ("string", text("a"), None),
            ("int", text("0"), Some("its type is int: expected a number as a bound")),
            (
                "date",
                range(Bound::Whole(0)),
                Some("its type is date: expected a date such as \"2026-01-31\" as a bound"),
            ),
            (
                "array<int>",
                range(Bound::Whole(0)),
                Some("its type is array<int>, which has no range: remove it, or use sql instead"),
            ),
            ("boolean", text("a"), Some("its type is boolean, which has no range: remove it, or use sql instead")),
        ] {
            assert_eq!(range_fault(glue_type, &range).as_deref(), expected, "{glue_type}");
        }
        assert_eq!((fresh_fault("date"), fresh_fault("timestamp")), (None, None));
        assert_eq!(fresh_fault("string").unwrap(), "its type is string: expected a column of dates or timestamps");
    }
}

//! One value of a partition column, and its spelling in a folder name.

use std::fmt;

use jiff::civil;

/// The projection type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Date,
    Integer,
    Enum,
}

impl Kind {
    /// Returns the projection type for a Glue column type. If Athena can't project that type, the error says which
    /// types to cast the column to.
    pub fn of(glue_type: &str) -> Result<Kind, String> {
        match glue_type {
            "date" => Ok(Kind::Date),
            "int" | "bigint" => Ok(Kind::Integer),
            "string" => Ok(Kind::Enum),
            _ if glue_type.starts_with("varchar") => Ok(Kind::Enum),
            _ => Err(format!(
                "Athena can't project partitions of type {glue_type}: cast the column to date, int, bigint or text in the \
                 source"
            )),
        }
    }
}

/// One value of a partition column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Days since 1970-01-01.
    Date(i32),
    Integer(i64),
    Text(String),
}

/// The characters that a text value must not contain. Hive escapes them in folder names, they separate the values of an
/// enum, or they have a special meaning in a location template.
const UNSAFE: &str = "\"#%'*/:=?\\{}[]^,$\u{7f}";

/// The maximum length of a text value, in bytes. A whole S3 key has at most 1,024 bytes.
const MAX_TEXT_BYTES: usize = 255;

impl Value {
    /// Returns `text` as a value, if it can be used in a folder name and in an enum projection. The error says why it
    /// can't, but doesn't quote the text, which comes from a row.
    pub fn text(text: &str) -> Result<Value, String> {
        let trouble = if text.is_empty() {
            "is empty"
        } else if text.len() > MAX_TEXT_BYTES {
            "has more than 255 bytes"
        } else if text.trim() != text {
            "begins or ends with white space"
        } else if text == "." || text == ".." {
            "is . or .."
        } else if text == HIVE_NULL {
            "is Hive's name for NULL"
        } else if text.chars().any(|c| c.is_control() || UNSAFE.contains(c)) {
            "has a character that is not allowed in a folder name or an enum (a control character or one of \" # % ' * \
             / : = ? \\ { } [ ] ^ , $)"
        } else {
            return Ok(Value::Text(text.into()));
        };
        Err(format!("{trouble}: replace it in the source's query"))
    }

    /// Returns the date that is `days` after 1970-01-01, as a value. Fails outside the years 1 to 9999, which are the
    /// ones written with four digits.
    pub fn date(days: i32) -> Result<Value, String> {
        match date(days.into()).map(|date| date.year()) {
            Ok(1..=9999) => Ok(Value::Date(days)),
            _ => Err("is not in the years 0001 to 9999: replace it in the source's query".into()),
        }
    }

    /// Parses a value from a folder name. Returns `None` if Turntable wouldn't spell a value like that.
    pub fn parse(kind: Kind, text: &str) -> Option<Value> {
        let value = match kind {
            Kind::Date => Value::Date(days(text.parse().ok()?)),
            Kind::Integer => Value::Integer(text.parse().ok()?),
            Kind::Enum => return Value::text(text).ok(),
        };
        // Only the canonical spelling is accepted, because each value has exactly one folder.
        (value.to_string() == text).then_some(value)
    }

    /// Returns the value as a number, for projections that are ranges: an integer itself, or a date as the number of
    /// days since 1970-01-01. Returns `None` for text.
    pub(super) fn whole(&self) -> Option<i64> {
        match self {
            Value::Date(days) => Some((*days).into()),
            Value::Integer(value) => Some(*value),
            Value::Text(_) => None,
        }
    }
}

/// The value that Hive writes in folder names for NULL.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Date(days) => match date((*days).into()) {
                Ok(date) => write!(f, "{date}"),
                Err(_) => f.write_str("no date"),
            },
            Value::Integer(value) => write!(f, "{value}"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

const EPOCH: civil::Date = civil::date(1970, 1, 1);

/// Returns the date that is `days` after 1970-01-01.
pub(super) fn date(days: i64) -> Result<civil::Date, String> {
    let span = jiff::Span::new().try_days(days).map_err(|_| "date out of range".to_owned())?;
    EPOCH.checked_add(span).map_err(|_| "date out of range".to_owned())
}

/// Returns the number of days from 1970-01-01 to `date`.
pub(super) fn days(date: civil::Date) -> i32 {
    (date - EPOCH).get_days()
}

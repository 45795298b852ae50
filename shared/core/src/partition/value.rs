//! One value of a partition column, and its text in a folder's name.

use std::fmt;

use jiff::civil;

/// How Athena is told a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Date,
    Integer,
    Enum,
}

impl Kind {
    /// By the column's type; the error says what to make of another one.
    pub fn of(glue_type: &str) -> Result<Kind, String> {
        match glue_type {
            "date" => Ok(Kind::Date),
            "int" | "bigint" => Ok(Kind::Integer),
            "string" => Ok(Kind::Enum),
            _ if glue_type.starts_with("varchar") => Ok(Kind::Enum),
            _ => Err(format!(
                "Athena projects no partitions of type {glue_type}: cast it to date, int, bigint or text in the source"
            )),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Days since 1970-01-01.
    Date(i32),
    Integer(i64),
    Text(String),
}

/// What Hive escapes in a folder's name, what separates an enum's values, and what a template means something by.
const UNSAFE: &str = "\"#%'*/:=?\\{}[]^,$\u{7f}";

/// Bytes. S3's keys have 1024 for all.
const LONGEST: usize = 255;

impl Value {
    /// A text that can be a folder and an enum's value; the error says why it cannot, without the text.
    pub fn text(text: &str) -> Result<Value, String> {
        let trouble = if text.is_empty() {
            "is empty"
        } else if text.len() > LONGEST {
            "has more than 255 bytes"
        } else if text.trim() != text {
            "begins or ends with white space"
        } else if text == "." || text == ".." {
            "is . or .."
        } else if text == HIVE_NULL {
            "is Hive's word for NULL"
        } else if text.chars().any(|c| c.is_control() || UNSAFE.contains(c)) {
            "has a character that a folder or an enum's list cannot hold (a control character or one of \" # % ' * / : \
             = ? \\ { } [ ] ^ , $)"
        } else {
            return Ok(Value::Text(text.into()));
        };
        Err(format!("{trouble}: replace it in the source's query"))
    }

    /// A day of the years 1 to 9999, which have four digits.
    pub fn date(days: i32) -> Result<Value, String> {
        match date(days.into()).map(|date| date.year()) {
            Ok(1..=9999) => Ok(Value::Date(days)),
            _ => Err("is not in the years 0001 to 9999: replace it in the source's query".into()),
        }
    }

    /// The value of a folder's text; `None` where no value is written like that.
    pub fn parse(kind: Kind, text: &str) -> Option<Value> {
        let value = match kind {
            Kind::Date => Value::Date(days(text.parse().ok()?)),
            Kind::Integer => Value::Integer(text.parse().ok()?),
            Kind::Enum => return Value::text(text).ok(),
        };
        // One value has one folder.
        (value.to_string() == text).then_some(value)
    }

    pub(super) fn whole(&self) -> Option<i64> {
        match self {
            Value::Date(days) => Some((*days).into()),
            Value::Integer(value) => Some(*value),
            Value::Text(_) => None,
        }
    }
}

/// Where Hive puts rows without a value.
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

pub(super) fn date(days: i64) -> Result<civil::Date, String> {
    let span = jiff::Span::new().try_days(days).map_err(|_| "no date is so far away".to_owned())?;
    EPOCH.checked_add(span).map_err(|_| "no date is so far away".to_owned())
}

/// Since 1970-01-01.
pub(super) fn days(date: civil::Date) -> i32 {
    (date - EPOCH).get_days()
}

//! Reads `checks.fresh`: the maximum age of a column's newest value.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use toml::Value;

use super::read::{Keys, described};

/// The limit on the age of a column's newest value.
#[derive(Debug, Clone, PartialEq)]
pub struct Fresh {
    pub max_age: SignedDuration,
    /// Values after this time are ignored. They stand for "no end", such as 9999-12-31. `None` means that all values
    /// count.
    pub ignore_after: Option<Timestamp>,
}

/// Reads a duration, or a table with a duration and `ignore_after`.
pub(super) fn fresh(keys: &Keys, path: &str, value: &Value) -> Option<Fresh> {
    let Some(table) = value.as_table() else {
        return Some(Fresh { max_age: age(keys, path, value)?, ignore_after: None });
    };
    let keys = Keys::new(keys.at(path), table, keys.faults());
    let max_age = match keys.value("max_age") {
        Some(value) => age(&keys, "max_age", value),
        None => {
            keys.fault_here("max_age is missing");
            None
        }
    };
    let ignore_after = keys.value("ignore_after").and_then(|value| {
        let moment = moment(value);
        if moment.is_none() {
            keys.fault(
                "ignore_after",
                format!(
                    "expected a date or a time before the year 9999, such as 9000-01-01, found {}",
                    if value.is_datetime() { "a later one" } else { described(value) }
                ),
            );
        }
        moment
    });
    keys.finish();
    Some(Fresh { max_age: max_age?, ignore_after })
}

/// Reads an age. Hours are the largest unit, because [`SignedDuration`] doesn't parse days.
fn age(keys: &Keys, path: &str, value: &Value) -> Option<SignedDuration> {
    let age = value.as_str().and_then(|text| text.parse::<SignedDuration>().ok()).filter(SignedDuration::is_positive);
    if age.is_none() {
        keys.fault(
            path,
            format!(
                "expected a positive duration in hours or smaller units, such as \"25h\" or \"90m\", found {}",
                described(value)
            ),
        );
    }
    age
}

/// Reads a date or a time, in UTC if it has no offset. Returns `None` from the year 9999 on: with a limit of
/// 9999-12-31, a value of 9999-12-31 isn't after the limit, so it would still count.
fn moment(value: &Value) -> Option<Timestamp> {
    let text = match value {
        Value::Datetime(at) => at.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let civil = || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let moment = text.parse::<Timestamp>().ok().or_else(civil)?;
    (moment.to_zoned(TimeZone::UTC).year() < 9999).then_some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, test_support::without_positions};

    fn read(fresh: &str) -> Result<Vec<(String, Fresh)>, String> {
        let text = format!(
            "[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/s\"\n\
             source = {{ files = {{ location = \"s3://lake/in/\" }} }}\nchecks.fresh = {fresh}\n"
        );
        let config = Config::parse("f", &text)
            .map_err(|error| without_positions(error.message()).replace("f: datasets.users.checks.fresh", ""))?;
        Ok(config.dataset("users").unwrap().checks.fresh.clone())
    }

    #[test]
    fn values_without_an_end_may_be_ignored() {
        let max_age = SignedDuration::from_hours(25);
        let ignore_after = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        for (written, expected) in [
            ("{ Ends = \"25h\" }", None),
            ("{ ends = { max_age = \"25h\" } }", None),
            ("{ ends = { max_age = \"25h\", ignore_after = 9000-01-01 } }", ignore_after("9000-01-01T00:00:00Z")),
            ("{ ends = { max_age = \"25h\", ignore_after = \"2100-01-01\" } }", ignore_after("2100-01-01T00:00:00Z")),
            (
                "{ ends = { max_age = \"25h\", ignore_after = 2100-01-01T00:00:00+09:00 } }",
                ignore_after("2099-12-31T15:00:00Z"),
            ),
        ] {
            assert_eq!(read(written), Ok(vec![("ends".to_owned(), Fresh { max_age, ignore_after: expected })]));
        }
    }

    #[test]
    fn faults_name_the_key() {
        let expected = "expected a date or a time before the year 9999, such as 9000-01-01, found";
        for (written, fault) in [
            ("{ a = { ignore_after = 9000-01-01 } }", ".a: max_age is missing".to_owned()),
            (
                "{ a = { max_age = \"1h\", ignore_after = 9999-12-31 } }",
                format!(".a.ignore_after: {expected} a later one"),
            ),
            ("{ a = { max_age = \"1h\", ignore_after = \"soon\" } }", format!(".a.ignore_after: {expected} a string")),
            (
                "{ a = { max_age = \"1h\", ignore = 1 } }",
                ".a: unknown key \"ignore\", expected one of max_age, ignore_after".to_owned(),
            ),
        ] {
            assert_eq!(read(written), Err(fault));
        }
    }
}

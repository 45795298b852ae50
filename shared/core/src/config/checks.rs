//! Reads `checks`: the checks that the audit runs on a candidate, and the canary for the live table.

use std::fmt;

use toml::Value;

use super::{
    fresh::{self, Fresh},
    query,
    read::{Keys, described},
};

/// A dataset's checks. All column names are in lower case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checks {
    /// The smallest allowed number of rows. `None` means no limit.
    pub min_rows: Option<u64>,
    /// The largest allowed loss of rows, as a fraction of the live rows: 0.2 means that up to 20 % may be lost. `None`
    /// means no limit.
    pub max_shrink: Option<f64>,
    /// The largest allowed gain of rows, as a fraction of the live rows: 0.5 means that up to 50 % may be added. `None`
    /// means no limit.
    pub max_growth: Option<f64>,
    /// Columns that must not contain nulls.
    pub not_null: Vec<String>,
    /// The allowed range of values, by column.
    pub range: Vec<(String, Range)>,
    /// The largest allowed age of the newest value, by column.
    pub fresh: Vec<(String, Fresh)>,
    /// Keys that must be unique. Each consists of one or more columns.
    pub unique: Vec<Vec<String>>,
    /// Queries on the candidate that must return one row with `true`. `{table}` stands for the candidate's table.
    pub sql: Vec<String>,
    /// A query like those in `sql`, but run on the live table after a flip. `None` means no canary.
    pub canary: Option<String>,
}

/// The smallest and largest values allowed in a column, both inclusive.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    pub min: Option<Bound>,
    pub max: Option<Bound>,
}

/// One bound of a range. The column's type decides whether `Text` is a string, a date or a time.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    Whole(i64),
    Number(f64),
    Text(String),
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "{min} or more"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("anything"),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Whole(whole) => write!(f, "{whole}"),
            Bound::Number(number) => write!(f, "{number}"),
            Bound::Text(text) => write!(f, "{text:?}"),
        }
    }
}

pub fn read(keys: Keys) -> Checks {
    let checks = Checks {
        min_rows: keys.whole("min_rows", 0),
        max_shrink: keys.part("max_shrink"),
        max_growth: keys.number("max_growth"),
        not_null: keys.strings("not_null").unwrap_or_default().into_iter().map(|name| name.to_lowercase()).collect(),
        range: keys
            .entries("range")
            .filter_map(|(name, path, value)| Some((name, range(&keys, &path, value)?)))
            .collect(),
        fresh: keys
            .entries("fresh")
            .filter_map(|(name, path, value)| Some((name, fresh::fresh(&keys, &path, value)?)))
            .collect(),
        unique: unique(&keys),
        sql: keys
            .strings("sql")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|text| keys.taken("sql", query::check(text)))
            .collect(),
        canary: keys.parsed("canary", query::check),
    };
    keys.finish();
    checks
}

fn range(keys: &Keys, path: &str, value: &Value) -> Option<Range> {
    let Some(table) = value.as_table() else {
        keys.fault(path, format!("expected a table such as {{ min = 0, max = 100 }}, found {}", described(value)));
        return None;
    };
    let keys = Keys::new(keys.at(path), table, keys.faults());
    let (min, max) = (bound(&keys, "min"), bound(&keys, "max"));
    if !keys.has("min") && !keys.has("max") {
        keys.fault_here("expected min, max or both");
    }
    let is_empty = match (&min, &max) {
        (Some(Bound::Text(min)), Some(Bound::Text(max))) => min > max,
        (Some(min), Some(max)) => match (min.number(), max.number()) {
            (Some(min), Some(max)) => min > max,
            _ => {
                keys.fault_here(
                    "min and max have different types: set both to numbers, to dates, to times or to strings",
                );
                false
            }
        },
        _ => false,
    };
    if is_empty {
        keys.fault_here("min is greater than max");
    }
    keys.finish();
    Some(Range { min, max })
}

impl Bound {
    fn number(&self) -> Option<f64> {
        match self {
            Bound::Whole(whole) => Some(*whole as f64),
            Bound::Number(number) => Some(*number),
            Bound::Text(_) => None,
        }
    }
}

/// Reads one bound. TOML dates and times become `Bound::Text`.
fn bound(keys: &Keys, key: &'static str) -> Option<Bound> {
    match keys.value(key)? {
        Value::Integer(whole) => Some(Bound::Whole(*whole)),
        Value::Float(number) if number.is_finite() => Some(Bound::Number(*number)),
        Value::String(text) => Some(Bound::Text(text.clone())),
        Value::Datetime(at) => Some(Bound::Text(at.to_string())),
        other => {
            keys.fault(key, format!("expected a number, a date, a time or a string, found {}", described(other)));
            None
        }
    }
}

/// Reads `unique`: `["id"]` is one key, `["a", "b"]` is one key with two columns, and `[["a", "b"], ["c"]]` is two
/// keys.
fn unique(keys: &Keys) -> Vec<Vec<String>> {
    let Some(value) = keys.value("unique") else { return Vec::new() };
    let names = |value: &Value| -> Option<Vec<String>> {
        let name = |value: &Value| value.as_str().filter(|name| !name.trim().is_empty()).map(str::to_lowercase);
        value.as_array().filter(|all| !all.is_empty())?.iter().map(name).collect()
    };
    let several = || value.as_array().filter(|all| !all.is_empty())?.iter().map(names).collect();
    names(value).map(|key| vec![key]).or_else(several).unwrap_or_else(|| {
        keys.fault("unique", "expected a list of columns such as [\"id\"], or a list of such lists");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::config::{Config, test_support::without_positions};

    fn dataset(checks: &str) -> Result<Checks, String> {
        let text = format!(
            "[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/s\"\n\
             source = {{ files = {{ location = \"s3://lake/in/\" }} }}\n[datasets.users.checks]\n{checks}"
        );
        let config = Config::parse("f", &text).map_err(|error| without_positions(error.message()))?;
        Ok(config.dataset("users").unwrap().checks.clone())
    }

    #[test]
    fn every_check_is_read() {
        let checks = dataset(
            "min_rows = 1\nmax_shrink = 0.2\nmax_growth = 3\nnot_null = [\"Id\"]\n\
             range = { points = { min = 0, max = 1.5 }, born = { min = 1900-01-01 }, name = { max = \"z\" } }\n\
             fresh = { updated_at = \"25h\" }\nunique = [[\"id\"], [\"A\", \"b\"]]\n\
             sql = [\"SELECT true FROM {table};\"]\ncanary = \"SELECT count(*) > 0 FROM {table}\"\n",
        );
        let range = |name: &str, min, max| (name.to_owned(), Range { min, max });
        assert_eq!(
            checks,
            Ok(Checks {
                min_rows: Some(1),
                max_shrink: Some(0.2),
                max_growth: Some(3.0),
                not_null: vec!["id".into()],
                range: vec![
                    range("points", Some(Bound::Whole(0)), Some(Bound::Number(1.5))),
                    range("born", Some(Bound::Text("1900-01-01".into())), None),
                    range("name", None, Some(Bound::Text("z".into()))),
                ],
                fresh: vec![(
                    "updated_at".into(),
                    Fresh { max_age: SignedDuration::from_hours(25), ignore_after: None }
                )],
                unique: vec![vec!["id".into()], vec!["a".into(), "b".into()]],
                sql: vec!["SELECT true FROM {table}".into()],
                canary: Some("SELECT count(*) > 0 FROM {table}".into()),
            })
        );
        assert_eq!(dataset("unique = [\"a\", \"b\"]").unwrap().unique, [["a", "b"]]);
    }

    #[test]
    fn every_fault_is_listed_with_its_path() {
        let faults = dataset(
            "max_growth = -1\nnot_null = \"id\"\nrange = { a = 1, b = {}, c = { min = 2, max = 1 }, d = { min = true }, \
             e = { min = 1, max = \"x\" }, f = { mni = 1 } }\n\
             fresh = { a = \"soon\", b = 5, c = \"-1h\" }\nunique = [\"id\", [\"a\"]]\nsql = [\"SELECT true\", 1]\n\
             canary = \"SELECT 1\"\nmin_row = 1\n",
        );
        let at = "f: datasets.users.checks";
        let duration = "expected a positive duration in hours or smaller units, such as \"25h\" or \"90m\"";
        assert_eq!(
            faults.unwrap_err().lines().collect::<Vec<_>>(),
            [
                format!("{at}.max_growth: expected a number, 0 or more, found a negative number"),
                format!("{at}.not_null: expected a list of non-empty strings, found a string"),
                format!("{at}.range.a: expected a table such as {{ min = 0, max = 100 }}, found a whole number"),
                format!("{at}.range.b: expected min, max or both"),
                format!("{at}.range.c: min is greater than max"),
                format!("{at}.range.d.min: expected a number, a date, a time or a string, found a boolean"),
                format!(
                    "{at}.range.e: min and max have different types: set both to numbers, to dates, to times or to strings"
                ),
                format!("{at}.range.f: expected min, max or both"),
                format!("{at}.range.f: unknown key \"mni\", expected one of min, max"),
                format!("{at}.fresh.a: {duration}, found a string"),
                format!("{at}.fresh.b: {duration}, found a whole number"),
                format!("{at}.fresh.c: {duration}, found a string"),
                format!("{at}.unique: expected a list of columns such as [\"id\"], or a list of such lists"),
                format!("{at}.sql: expected a list of non-empty strings, found an array"),
                format!("{at}.canary: expected a query that contains {{table}}, the placeholder for the table's name"),
                format!(
                    "{at}: unknown key \"min_row\", expected one of min_rows, max_shrink, max_growth, not_null, range, \
                     fresh, unique, sql, canary"
                ),
            ]
        );
        assert_eq!(
            dataset("sql = [\"SELECT true\"]").unwrap_err(),
            format!("{at}.sql: expected a query that contains {{table}}, the placeholder for the table's name")
        );
    }
}

//! The checks that run in Athena (`unique`, `sql` and `canary`, and `fresh` with `ignore_after`): builds their queries and
//! evaluates the results.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};

use crate::{
    config::{Checks, Fresh},
    layout::TableName,
    manifest::Manifest,
};

/// One query on a table, and the result that it must return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The check's name and its value in `datasets.toml`. Every reason starts with them. A long query is truncated.
    pub check: String,
    pub sql: String,
    expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The result is the number of keys that several rows share. It must be 0.
    NoDuplicates,
    /// The result must be `true`.
    True,
    /// The result says whether any value is at most this old. It must be `true`.
    Fresh(SignedDuration),
}

/// The rows of a query's result, with values as text. `None` is null.
pub type Rows = [Vec<Option<String>>];

impl Question {
    /// Returns the query for one key in `unique`. Nulls count as equal, so two rows with a null key aren't unique.
    fn unique(key: &[String], table: &TableName) -> Question {
        let columns: Vec<String> = key.iter().map(|name| quoted(name)).collect();
        let columns = columns.join(", ");
        Question {
            check: format!("unique: {}", key.join(", ")),
            sql: format!(
                "SELECT count(*) FROM (SELECT {columns} FROM {} GROUP BY {columns} HAVING count(*) > 1)",
                reference(table)
            ),
            expected: Expected::NoDuplicates,
        }
    }

    /// Returns the question for a query from `sql` or `canary`, with `{table}` replaced by the table's quoted name.
    /// `check` is the name of the check.
    pub fn truth(check: &str, sql: &str, table: &TableName) -> Question {
        Question {
            check: format!("{check}: {}", shortened(sql)),
            sql: sql.replace("{table}", &reference(table)),
            expected: Expected::True,
        }
    }

    /// Returns the query for a column in `fresh`. The query ignores values after `until`. `glue_type` is the column's
    /// type. The error is the reason to report if it is neither a date nor a timestamp.
    fn fresh(
        name: &str,
        glue_type: &str,
        fresh: &Fresh,
        until: Timestamp,
        table: &TableName,
        now: Timestamp,
    ) -> Result<Question, String> {
        let since = now.checked_sub(fresh.max_age).unwrap_or(Timestamp::MIN);
        let (since, until) = match glue_type {
            "date" => (format!("DATE '{}'", first_midnight(since)), format!("DATE '{}'", date(until))),
            "timestamp" => (time(since), time(until)),
            _ => return Err(format!("fresh: {name}: expected a column of dates or timestamps, found another type")),
        };
        let column = quoted(name);
        Ok(Question {
            check: format!("fresh: {name}"),
            sql: format!(
                "SELECT count(*) > 0 FROM {} WHERE {column} >= {since} AND {column} <= {until}",
                reference(table)
            ),
            expected: Expected::Fresh(fresh.max_age),
        })
    }

    /// Returns why the result fails the check, or `None` if it passes. The reason describes an unexpected value without
    /// quoting it, because the value may come from a row.
    pub fn reason(&self, rows: &Rows) -> Option<String> {
        let (check, only) = (&self.check, only(rows));
        match self.expected {
            Expected::True | Expected::Fresh(_) if only == Ok("true") => None,
            Expected::Fresh(max_age) => {
                let found = if only == Ok("false") { "none".to_owned() } else { unexpected(only) };
                let expected = format!("expected a value from the last {max_age:#} that is not after ignore_after");
                Some(format!("{check}: {expected}, found {found}"))
            }
            Expected::True => {
                let found = if only == Ok("false") { "false".to_owned() } else { unexpected(only) };
                Some(format!("{check}: expected true, found {found}"))
            }
            Expected::NoDuplicates => {
                let found = match only.map(str::parse::<u64>) {
                    Ok(Ok(0)) => return None,
                    Ok(Ok(keys)) => keys.to_string(),
                    Ok(Err(_)) => "a value that is not a count".into(),
                    Err(shape) => shape,
                };
                Some(format!("{check}: expected no duplicate keys, found {found}"))
            }
        }
    }

    /// Returns the reason to report if Athena ran the query and it failed. `why` is Athena's error text, or the error's
    /// name.
    pub fn failed(&self, why: &str) -> String {
        format!("{}: {why}", self.check)
    }
}

/// Returns the value of a result with one row and one column. The error describes what was found instead.
fn only(rows: &Rows) -> Result<&str, String> {
    match rows {
        [row] => match row.as_slice() {
            [Some(value)] => Ok(value),
            [None] => Err("null".into()),
            row => Err(format!("a row of {} columns", row.len())),
        },
        [] => Err("no row".into()),
        rows => Err(format!("{} rows", rows.len())),
    }
}

/// Describes a result that is not a boolean.
fn unexpected(only: Result<&str, String>) -> String {
    match only {
        Ok(_) => "a value that is not a boolean".into(),
        Err(shape) => shape,
    }
}

/// Returns the UTC date at `at`.
fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Returns the UTC date of the first midnight at or after `at`.
fn first_midnight(at: Timestamp) -> Date {
    let at = at.to_zoned(TimeZone::UTC).datetime();
    if at.time() == Time::midnight() { at.date() } else { at.date().tomorrow().unwrap_or(Date::MAX) }
}

/// Returns `at` as an SQL timestamp, in UTC and with microseconds.
fn time(at: Timestamp) -> String {
    format!("TIMESTAMP '{}'", at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.6f"))
}

/// Returns whether `checks` contains a check that queries the candidate in Athena. `canary` doesn't count, because it
/// queries the live table.
pub fn has_sql_checks(checks: &Checks) -> bool {
    !checks.unique.is_empty()
        || !checks.sql.is_empty()
        || checks.fresh.iter().any(|(_, fresh)| fresh.ignore_after.is_some())
}

/// Returns the queries to run on a candidate that is registered as `table`. Also returns the reasons from checks that
/// fail before any query, because a column is missing.
pub fn questions(
    checks: &Checks,
    manifest: &Manifest,
    table: &TableName,
    now: Timestamp,
) -> (Vec<Question>, Vec<String>) {
    let (mut questions, mut reasons) = (Vec::new(), Vec::new());
    let names: Vec<&str> = manifest.names().collect();
    for key in &checks.unique {
        let missing: Vec<&String> = key.iter().filter(|name| !names.contains(&name.as_str())).collect();
        match missing.first() {
            Some(name) => reasons.push(format!("unique: expected a column {name:?}, found only {}", names.join(", "))),
            None => questions.push(Question::unique(key, table)),
        }
    }
    for (name, fresh) in &checks.fresh {
        let Some(until) = fresh.ignore_after else { continue };
        let columns = manifest.columns.iter().chain(manifest.partitions.iter().map(|partition| &partition.column));
        let Some(column) = columns.into_iter().find(|column| column.name == *name) else {
            reasons.push(format!("fresh: expected a column {name:?}, found only {}", names.join(", ")));
            continue;
        };
        match Question::fresh(name, &column.glue_type, fresh, until, table, now) {
            Ok(question) => questions.push(question),
            Err(reason) => reasons.push(reason),
        }
    }
    questions.extend(checks.sql.iter().map(|sql| Question::truth("sql", sql, table)));
    (questions, reasons)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn reference(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.database), quoted(&table.table))
}

/// Puts a query on one line and truncates it to `MAX_CHARS` characters, so that it fits in a log line.
fn shortened(sql: &str) -> String {
    const MAX_CHARS: usize = 100;
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::fixture, schema::Column};

    fn table() -> TableName {
        TableName { database: "dmp".into(), table: "turntable_audit_t_1".into() }
    }

    fn row(cells: &[Option<&str>]) -> Vec<Option<String>> {
        cells.iter().map(|cell| cell.map(str::to_owned)).collect()
    }

    #[test]
    fn unique_counts_keys_by_quoted_columns() {
        let question = Question::unique(&["id".into(), "a\"b".into()], &table());
        assert_eq!(
            question.sql,
            "SELECT count(*) FROM (SELECT \"id\", \"a\"\"b\" FROM \"dmp\".\"turntable_audit_t_1\" GROUP BY \"id\", \"a\"\"b\" HAVING count(*) > 1)"
        );
        assert_eq!(question.reason(&[row(&[Some("0")])]), None);
        assert_eq!(
            question.reason(&[row(&[Some("3")])]).unwrap(),
            "unique: id, a\"b: expected no duplicate keys, found 3"
        );
        assert_eq!(question.reason(&[]).unwrap(), "unique: id, a\"b: expected no duplicate keys, found no row");
    }

    #[test]
    fn only_a_single_row_with_true_passes() {
        let question = Question::truth("sql", "SELECT\n  count(*) = 0 FROM {table}", &table());
        assert_eq!(question.sql, "SELECT\n  count(*) = 0 FROM \"dmp\".\"turntable_audit_t_1\"");
        assert_eq!(question.reason(&[row(&[Some("true")])]), None);
        for (rows, found) in [
            (vec![row(&[Some("false")])], "false"),
            (vec![row(&[None])], "null"),
            (vec![row(&[Some("alice@example.com")])], "a value that is not a boolean"),
            (vec![row(&[Some("true"), Some("true")])], "a row of 2 columns"),
            (vec![], "no row"),
            (vec![row(&[Some("true")]); 2], "2 rows"),
        ] {
            let expected = format!("sql: SELECT count(*) = 0 FROM {{table}}: expected true, found {found}");
            assert_eq!(question.reason(&rows), Some(expected));
        }
        assert_eq!(question.failed("COLUMN_NOT_FOUND"), "sql: SELECT count(*) = 0 FROM {table}: COLUMN_NOT_FOUND");
    }

    #[test]
    fn unique_on_a_missing_column_fails_without_a_query() {
        let checks = Checks {
            unique: vec![vec!["id".into(), "key".into()], vec!["id".into()]],
            sql: vec![format!("SELECT {}{{table}}", "名".repeat(200))],
            ..Checks::default()
        };
        let (questions, reasons) = questions(&checks, &fixture::manifest(), &table(), Timestamp::UNIX_EPOCH);
        assert_eq!(reasons, ["unique: expected a column \"key\", found only id"]);
        assert_eq!(questions.len(), 2);
        assert_eq!(questions[1].check, format!("sql: SELECT {}…", "名".repeat(93)));
    }

    #[test]
    fn values_after_a_moment_do_not_count_as_the_newest() {
        let fresh = Fresh {
            max_age: SignedDuration::from_hours(25),
            ignore_after: Some("9000-01-01T00:00:00Z".parse().unwrap()),
        };
        let mut manifest = fixture::manifest();
        manifest.columns.push(Column { name: "ends".into(), glue_type: "timestamp".into() });
        manifest.columns.push(Column { name: "day".into(), glue_type: "date".into() });
        let names = ["ends", "day", "id", "end"];
        let checks = Checks { fresh: names.map(|name| (name.to_owned(), fresh.clone())).to_vec(), ..Checks::default() };
        let now = "2026-11-30T01:00:00.5Z".parse().unwrap();
        let (questions, reasons) = questions(&checks, &manifest, &table(), now);
        assert_eq!(
            reasons,
            [
                "fresh: id: expected a column of dates or timestamps, found another type",
                "fresh: expected a column \"end\", found only id, ends, day",
            ]
        );
        let sql: Vec<&str> = questions.iter().map(|question| question.sql.as_str()).collect();
        let from = "SELECT count(*) > 0 FROM \"dmp\".\"turntable_audit_t_1\" WHERE";
        assert_eq!(
            sql,
            [
                format!(
                    "{from} \"ends\" >= TIMESTAMP '2026-11-29 00:00:00.500000' \
                     AND \"ends\" <= TIMESTAMP '9000-01-01 00:00:00.000000'"
                ),
                format!("{from} \"day\" >= DATE '2026-11-30' AND \"day\" <= DATE '9000-01-01'"),
            ]
        );
        let question = &questions[0];
        assert_eq!(question.reason(&[row(&[Some("true")])]), None);
        let expected = "fresh: ends: expected a value from the last 25h that is not after ignore_after, found";
        assert_eq!(question.reason(&[row(&[Some("false")])]).unwrap(), format!("{expected} none"));
        assert_eq!(question.reason(&[]).unwrap(), format!("{expected} no row"));
        assert!(has_sql_checks(&checks));
        let midnight = "2026-11-30T00:00:00Z".parse().unwrap();
        assert_eq!(first_midnight(midnight).to_string(), "2026-11-30");
    }
}

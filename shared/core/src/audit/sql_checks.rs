//! The checks that run in Athena (`unique`, `sql` and `canary`): builds their queries and evaluates the results.

use crate::{config::Checks, layout::TableName, manifest::Manifest};

/// One query on a table, and the result that it must return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The check's name and its value in `datasets.toml`, with which every reason starts. A long query is truncated.
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

    /// Returns why the result fails the check, or `None` if it passes. The reason describes an unexpected value without
    /// quoting it, because the value may come from a row.
    pub fn reason(&self, rows: &Rows) -> Option<String> {
        let (check, only) = (&self.check, only(rows));
        match self.expected {
            Expected::True if only == Ok("true") => None,
            Expected::True => {
                let found = match only {
                    Ok("false") => "false".into(),
                    Ok(_) => "a value that is not a boolean".into(),
                    Err(shape) => shape,
                };
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

/// Returns whether `checks` contains any that query the candidate in Athena. `canary` doesn't: it queries the live
/// table.
pub fn has_sql_checks(checks: &Checks) -> bool {
    !checks.unique.is_empty() || !checks.sql.is_empty()
}

/// Returns the queries to run on a candidate that is registered as `table`, and the reasons from checks that fail
/// without a query, because a column is missing.
pub fn questions(checks: &Checks, manifest: &Manifest, table: &TableName) -> (Vec<Question>, Vec<String>) {
    let (mut questions, mut reasons) = (Vec::new(), Vec::new());
    let names: Vec<&str> = manifest.names().collect();
    for key in &checks.unique {
        let missing: Vec<&String> = key.iter().filter(|name| !names.contains(&name.as_str())).collect();
        match missing.first() {
            Some(name) => reasons.push(format!("unique: expected a column {name:?}, found only {}", names.join(", "))),
            None => questions.push(Question::unique(key, table)),
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
    use crate::audit::fixture;

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
        let (questions, reasons) = questions(&checks, &fixture::manifest(), &table());
        assert_eq!(reasons, ["unique: expected a column \"key\", found only id"]);
        assert_eq!(questions.len(), 2);
        assert_eq!(questions[1].check, format!("sql: SELECT {}…", "名".repeat(93)));
    }
}

//! What is asked of Athena, and what its answers mean.

use crate::{config::Checks, layout::TableName, manifest::Manifest};

/// One query on a table, and what its answer has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The check, as datasets.toml has it, shortened.
    pub check: String,
    pub sql: String,
    expected: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The number of keys that stand there more than once is 0.
    Once,
    True,
}

/// The rows of an answer.
pub type Rows = [Vec<Option<String>>];

impl Question {
    /// `unique` on one key. Null is a value like any other: two rows without a key are not unique.
    fn unique(key: &[String], table: &TableName) -> Question {
        let columns: Vec<String> = key.iter().map(|name| quoted(name)).collect();
        let columns = columns.join(", ");
        Question {
            check: format!("unique: {}", key.join(", ")),
            sql: format!(
                "SELECT count(*) FROM (SELECT {columns} FROM {} GROUP BY {columns} HAVING count(*) > 1)",
                reference(table)
            ),
            expected: Expected::Once,
        }
    }

    /// One of `sql`, or `canary`: `{table}` is the table.
    pub fn truth(check: &str, sql: &str, table: &TableName) -> Question {
        Question {
            check: format!("{check}: {}", shortened(sql)),
            sql: sql.replace("{table}", &reference(table)),
            expected: Expected::True,
        }
    }

    /// Why the answer fails the check; `None` where it passes. Tells nothing of a row but its shape.
    pub fn reason(&self, rows: &Rows) -> Option<String> {
        let (check, only) = (&self.check, only(rows));
        match self.expected {
            Expected::True if only == Ok("true") => None,
            Expected::True => {
                let found = match only {
                    Ok("false") => "false".into(),
                    Ok(_) => "something else than a boolean".into(),
                    Err(shape) => shape,
                };
                Some(format!("{check}: expected true, found {found}"))
            }
            Expected::Once => {
                let found = match only.map(str::parse::<u64>) {
                    Ok(Ok(0)) => return None,
                    Ok(Ok(keys)) => format!("{keys} of them more than once"),
                    Ok(Err(_)) => "something else than a count".into(),
                    Err(shape) => shape,
                };
                Some(format!("{check}: expected every value once, found {found}"))
            }
        }
    }

    /// Athena took the query and failed it for a reason of its own.
    pub fn failed(&self, why: &str) -> String {
        format!("{}: expected an answer, the query failed: {why}", self.check)
    }
}

/// The only column of the only row; otherwise what there is instead.
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

/// Whether the checks need Athena.
pub fn asks(checks: &Checks) -> bool {
    !checks.unique.is_empty() || !checks.sql.is_empty()
}

/// The questions on a candidate that is registered as `table`, and the checks that fail unasked.
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

/// On one line, and not longer than a line of a log bears.
fn shortened(sql: &str) -> String {
    const LONGEST: usize = 100;
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
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
    fn a_key_is_counted_by_its_quoted_columns() {
        let question = Question::unique(&["id".into(), "a\"b".into()], &table());
        assert_eq!(
            question.sql,
            "SELECT count(*) FROM (SELECT \"id\", \"a\"\"b\" FROM \"dmp\".\"turntable_audit_t_1\" GROUP BY \"id\", \"a\"\"b\" HAVING count(*) > 1)"
        );
        assert_eq!(question.reason(&[row(&[Some("0")])]), None);
        assert_eq!(
            question.reason(&[row(&[Some("3")])]).unwrap(),
            "unique: id, a\"b: expected every value once, found 3 of them more than once"
        );
        assert_eq!(question.reason(&[]).unwrap(), "unique: id, a\"b: expected every value once, found no row");
    }

    #[test]
    fn only_one_row_of_true_is_true() {
        let question = Question::truth("sql", "SELECT\n  count(*) = 0 FROM {table}", &table());
        assert_eq!(question.sql, "SELECT\n  count(*) = 0 FROM \"dmp\".\"turntable_audit_t_1\"");
        assert_eq!(question.reason(&[row(&[Some("true")])]), None);
        for (rows, found) in [
            (vec![row(&[Some("false")])], "false"),
            (vec![row(&[None])], "null"),
            (vec![row(&[Some("alice@example.com")])], "something else than a boolean"),
            (vec![row(&[Some("true"), Some("true")])], "a row of 2 columns"),
            (vec![], "no row"),
            (vec![row(&[Some("true")]); 2], "2 rows"),
        ] {
            let expected = format!("sql: SELECT count(*) = 0 FROM {{table}}: expected true, found {found}");
            assert_eq!(question.reason(&rows), Some(expected));
        }
        assert_eq!(
            question.failed("COLUMN_NOT_FOUND"),
            "sql: SELECT count(*) = 0 FROM {table}: expected an answer, the query failed: COLUMN_NOT_FOUND"
        );
    }

    #[test]
    fn a_key_that_is_not_there_fails_unasked() {
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

//! `query`: runs a statement in Athena.

use anyhow::{Result, anyhow};
use turntable::config::reads_only;

use crate::{
    athena::{self, Answer, QueryFailed},
    done::Done,
    table::aligned,
    target::{Format, Target},
};

/// What to run, and how.
pub struct Query<'a> {
    pub sql: &'a str,
    /// Whether the statement may change data.
    pub write: bool,
    /// The workgroup in AWS.
    pub workgroup: &'a str,
}

/// Runs the statement. Fails if it changes data, unless `query.write` allows that.
pub async fn query(target: &Target, query: &Query<'_>, format: Format) -> Result<Done> {
    let sql = match query.write {
        true => query.sql.to_owned(),
        false => reads_only(query.sql).map_err(|why| anyhow!("{why}; pass --write to run it anyway"))?,
    };
    let place = target.place().await?;
    let client = aws_sdk_athena::Client::new(&place.athena);
    let answer = athena::answer(&client, &target.results(query.workgroup), &sql).await;
    // A failed statement is not a problem with the stack, whatever its message says.
    let answer = answer.map_err(|error| if error.is::<QueryFailed>() { error } else { target.explained(error) })?;
    Ok(Done::with(match format {
        Format::Json => format!("{}\n", serde_json::to_string(&answer)?),
        Format::Table => shown(&answer),
    }))
}

/// Returns aligned lines, with the column names first. NULL is `NULL`, and an empty string is `''`.
fn shown(answer: &Answer) -> String {
    let mut lines: Vec<Vec<String>> = vec![answer.columns.clone()];
    lines.extend(answer.rows.iter().map(|row| row.iter().map(cell).collect()));
    let lines: Vec<Vec<&str>> = lines.iter().map(|line| line.iter().map(String::as_str).collect()).collect();
    aligned(&lines, &[])
}

/// Returns a value as it is shown in a table.
pub(crate) fn cell(cell: &Option<String>) -> String {
    match cell.as_deref() {
        None => "NULL".to_owned(),
        Some("") => "''".to_owned(),
        Some("NULL") => "'NULL'".to_owned(),
        Some(text) => one_line(text),
    }
}

/// Escapes control characters, so that a value can't break the table or control the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_texts_look_different() {
        let text = |text: &str| Some(text.to_owned());
        let answer = Answer {
            columns: vec!["id".into(), "name".into()],
            rows: vec![
                vec![text("1"), text("a\nb\u{1b}[1m")],
                vec![text("2"), text("")],
                vec![text("3"), None],
                vec![text("4"), text("NULL")],
            ],
        };
        assert_eq!(shown(&answer), "id  name\n1   a\\nb\\u{1b}[1m\n2   ''\n3   NULL\n4   'NULL'\n");
        let json = serde_json::to_string(&answer).unwrap();
        assert!(json.ends_with(r#"["2",""],["3",null],["4","NULL"]]}"#), "{json}");
    }
}

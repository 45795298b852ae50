//! Describes a query's columns without running the query.

use arrow_schema::{Field, Schema};
use mysql_async::{Conn, Statement, prelude::Queryable};

use super::{charset, decode::Format, failure, server::Server, types, warnings};
use crate::names;
use turntable_core::error::{Error, Result};

/// A prepared query and its columns.
pub struct Described {
    pub statement: Statement,
    pub columns: Vec<(String, Format)>,
}

/// Prepares the query and returns it with its columns, as the server describes them. Fails if the query has parameters,
/// returns no columns, or raises warnings that are not in `allowed`.
pub async fn describe(conn: &mut Conn, server: &Server, query: &str, allowed: &[u16]) -> Result<Described> {
    // The server drops leading white space. A comment keeps it, so that the lines in its errors are those of the query.
    let query = if query.starts_with(char::is_whitespace) { format!("/**/{query}") } else { query.to_owned() };
    let statement = conn.prep(query).await.map_err(|error| failure::error_of(server, error))?;
    warnings::check(conn, server, "when it parsed the query", allowed).await?;
    if statement.num_params() > 0 {
        return Err(Error::input("the source's query has parameters (?, or :name): replace them with values"));
    }
    let sent = statement.columns();
    if sent.is_empty() {
        return Err(Error::input("the source's query returns no columns: expected a SELECT"));
    }
    let written: Vec<_> = sent.iter().map(|column| column.name_str()).collect();
    let written: Vec<&str> = written.iter().map(AsRef::as_ref).collect();
    // MySQL names an expression without an alias after the expression's text, such as `count(*)`.
    let unnamed = |at: usize| sent[at].org_name_ref().is_empty() && !written[at].chars().all(is_name_char);
    let names = names::lower_case(&written, unnamed)?;
    let mut columns = Vec::new();
    for ((column, name), charset) in sent.iter().zip(names).zip(charset::of_columns(conn, server, &sent).await?) {
        let wire = types::wire(column).map_err(|fault| Error::input(format!("column {name:?}: {fault}")))?;
        columns.push((name, (wire, charset)));
    }
    Ok(Described { statement, columns })
}

/// The statements that limit a sample to 5 seconds: MariaDB's in seconds, and MySQL's in milliseconds.
const SAMPLE_TIME: [&str; 2] = ["SET SESSION max_statement_time = 5", "SET SESSION max_execution_time = 5000"];

/// Reads the query's first rows. Fails if they raise warnings that are not in `allowed`, because the export would fail
/// too.
pub async fn sample(conn: &mut Conn, server: &Server, query: &str, allowed: &[u16]) -> Result<()> {
    for limit in SAMPLE_TIME {
        // Each server knows only one of the two.
        let _ = conn.query_drop(limit).await;
    }
    // Not every query is valid as a subquery, and the time may run out. In these cases, only the export can show
    // whether there are warnings.
    match conn.query_drop(format!("SELECT * FROM ({query}\n) AS turntable_sample LIMIT 100")).await {
        Ok(()) => warnings::check(conn, server, "in the first 100 rows", allowed).await,
        Err(_) => Ok(()),
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | ' ' | '-')
}

impl Described {
    /// Returns the Arrow schema. All fields are nullable.
    pub fn schema(&self) -> Schema {
        Schema::new(
            self.columns.iter().map(|(name, (wire, _))| Field::new(name, wire.data_type(), true)).collect::<Vec<_>>(),
        )
    }

    /// Returns how to decode each column.
    pub fn formats(&self) -> Vec<Format> {
        self.columns.iter().map(|(_, format)| format.clone()).collect()
    }
}

//! Describes a query's columns without running the query.

use arrow_schema::{Field, Schema};
use mysql_async::{Conn, Statement, prelude::Queryable};

use super::{
    failure,
    server::Server,
    types::{self, Wire},
};
use crate::names;
use turntable_core::error::{Error, Result};

/// A prepared query and its columns.
pub struct Described {
    pub statement: Statement,
    pub columns: Vec<(String, Wire)>,
}

/// Prepares the query and returns it with its columns, as the server describes them. Fails if the query has parameters
/// or returns no columns.
pub async fn describe(conn: &mut Conn, server: &Server, query: &str) -> Result<Described> {
    let statement = conn.prep(query).await.map_err(|error| failure::error_of(server, error))?;
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
    let mut columns = Vec::new();
    for (column, name) in sent.iter().zip(names::lower_case(&written, unnamed)?) {
        let wire = types::wire(column).map_err(|fault| Error::input(format!("column {name:?}: {fault}")))?;
        columns.push((name, wire));
    }
    Ok(Described { statement, columns })
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | ' ' | '-')
}

impl Described {
    /// Returns the Arrow schema. All fields are nullable.
    pub fn schema(&self) -> Schema {
        Schema::new(
            self.columns.iter().map(|(name, wire)| Field::new(name, wire.data_type(), true)).collect::<Vec<_>>(),
        )
    }

    /// Returns the wire format of each column.
    pub fn wires(&self) -> Vec<Wire> {
        self.columns.iter().map(|(_, wire)| *wire).collect()
    }
}

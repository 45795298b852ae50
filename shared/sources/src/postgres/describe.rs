//! Describes a query's columns, and builds the COPY statement that sends them in the format that `copy` decodes.

use std::collections::BTreeSet;

use arrow_schema::{Field, Schema};
use tokio_postgres::{
    Client,
    types::{Kind, Oid, Type},
};

use super::{
    failure,
    server::Server,
    types::{self, Cast, Modifiers, quoted},
};
use crate::{names, postgres::copy::Wire};
use turntable_core::error::{Error, Result};

/// A query's columns.
pub struct Described {
    pub columns: Vec<QueryColumn>,
}

pub struct QueryColumn {
    /// The name in lower case.
    pub name: String,
    pub wire: Wire,
    cast: Cast,
    /// The PostgreSQL type.
    pub pg_type: Type,
    /// The OID of the table that the column comes from and the column's number in it; `None` for an expression.
    pub origin: Option<(Oid, i16)>,
}

impl QueryColumn {
    /// Returns the column's name in the form that conditions for [`Described::copy`] must use.
    pub fn reference(&self) -> String {
        format!("q.{}", quoted(&self.name))
    }
}

/// Prepares the query and returns its columns as the server describes them, without running it. Fails if the query has
/// parameters or returns no columns.
pub async fn describe(client: &Client, server: &Server, query: &str) -> Result<Described> {
    let failed = |error| failure::error_of(server, error);
    let statement = client.prepare(query).await.map_err(|error| failure::at_prepare(server, query, error))?;
    if !statement.params().is_empty() {
        return Err(Error::input("the source's query has parameters ($1, …): replace them with values"));
    }
    if statement.columns().is_empty() {
        return Err(Error::input("the source's query returns no columns: expected a SELECT"));
    }
    let modifiers = modifiers(client, statement.columns().iter().map(|column| column.type_())).await.map_err(failed)?;
    let written: Vec<&str> = statement.columns().iter().map(|column| column.name()).collect();
    let mut columns = Vec::new();
    for (column, name) in statement.columns().iter().zip(names::lower_case(&written, |at| written[at] == "?column?")?) {
        let rule = types::rule(column.type_(), column.type_modifier(), &modifiers)
            .map_err(|fault| Error::input(format!("column {name:?}: {fault}")))?;
        let origin = column.table_oid().zip(column.column_id());
        columns.push(QueryColumn { name, wire: rule.wire, cast: rule.cast, pg_type: column.type_().clone(), origin });
    }
    Ok(Described { columns })
}

impl Described {
    /// Returns the Arrow schema. All fields are nullable.
    pub fn schema(&self) -> Schema {
        let field = |column: &QueryColumn| Field::new(&column.name, column.wire.data_type(), true);
        Schema::new(self.columns.iter().map(field).collect::<Vec<_>>())
    }

    /// Returns the wire format of each column.
    pub fn wires(&self) -> Vec<Wire> {
        self.columns.iter().map(|column| column.wire.clone()).collect()
    }

    /// Returns the COPY statement for the rows that meet `condition`, or for all rows if it is `None`. The condition
    /// may refer to the columns as `q."name"`.
    pub fn copy(&self, query: &str, condition: Option<&str>) -> String {
        format!("COPY ({}) TO STDOUT (FORMAT binary)", self.select(query, condition))
    }

    /// Returns the SELECT for the rows that meet `condition`, or for all rows if it is `None`.
    pub fn select(&self, query: &str, condition: Option<&str>) -> String {
        let each = |column: &QueryColumn| column.cast.apply(&column.reference());
        let list = self.columns.iter().map(each).collect::<Vec<_>>().join(", ");
        format!("SELECT {list} FROM {}{}", self.from(query), where_clause(condition))
    }

    /// Returns a FROM item: the query as a subquery `q` with lower-case column names. The query may end with a `--`
    /// comment, so a line break follows it.
    pub fn from(&self, query: &str) -> String {
        let names = self.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
        format!("({query}\n) AS q({names})")
    }
}

fn where_clause(condition: Option<&str>) -> String {
    condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default()
}

/// Queries the type modifiers of all domains and composites in `types`, including nested ones.
async fn modifiers<'a>(
    client: &Client,
    types: impl Iterator<Item = &'a Type>,
) -> Result<Modifiers, tokio_postgres::Error> {
    let mut oids = BTreeSet::new();
    types.for_each(|of| collect_oids(of, &mut oids));
    if oids.is_empty() {
        return Ok(Modifiers::new());
    }
    let oids: Vec<Oid> = oids.into_iter().collect();
    let rows = client
        .query(
            "SELECT t.oid, t.typtypmod, coalesce(array_agg(a.atttypmod ORDER BY a.attnum) \
               FILTER (WHERE a.attnum > 0 AND NOT a.attisdropped), '{}') \
             FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = nullif(t.typrelid, 0) \
             WHERE t.oid = ANY ($1) GROUP BY t.oid, t.typtypmod",
            &[&oids],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

/// Adds the OIDs of all domains and composites in a type, including nested ones.
fn collect_oids(of: &Type, oids: &mut BTreeSet<Oid>) {
    match of.kind() {
        Kind::Array(element) => collect_oids(element, oids),
        Kind::Domain(base) => {
            oids.insert(of.oid());
            collect_oids(base, oids);
        }
        Kind::Composite(fields) => {
            oids.insert(of.oid());
            fields.iter().for_each(|field| collect_oids(field.type_(), oids));
        }
        _ => {}
    }
}

//! Splits a query into parts that several connections read concurrently. Together, the parts contain each row exactly
//! once.
//!
//! With `split_by`, the parts are ranges of that column's values. The bounds are quantiles, taken from ANALYZE's
//! statistics or, without statistics, computed by a query. Without `split_by`, the query must be `SELECT columns FROM
//! table` on an ordinary table, and the parts are ranges of its blocks. No row is missed, wherever the bounds lie,
//! because the first and the last range are open-ended.
//!
//! The parts' row counts aren't compared with the whole query's. That would run the query once more, and equal counts
//! don't mean equal rows: one may be missing and another repeated. Instead, [`plan`] refuses queries whose runs can
//! differ. So each part finds the same rows, on the same snapshot, and the ranges leave none of them out.

use tokio_postgres::{Client, Error as PgError};

use super::{
    describe::{Described, QueryColumn},
    failure, plan,
    server::Server,
    session::Session,
    settings::UTF8,
    types::quoted,
};
use crate::ranges::{plain_table, ranges};
use turntable_core::{
    config::Postgres,
    error::{Error, Result},
};

/// The parts of a query.
pub struct Parts {
    /// The COPY statement for each part.
    pub copies: Vec<String>,
    /// Whether the server must read tables in the same order for each part. Otherwise, rows could be lost or repeated.
    pub is_ordered: bool,
}

/// Splits the query as the options say. Fails if its parts could lose or repeat rows.
pub async fn of(session: &Session, server: &Server, described: &Described, options: &Postgres) -> Result<Parts> {
    let client = &session.link.client;
    let query = &options.query;
    let parts = options.parallel;
    let Some((split, is_ordered)) = check(client, server, described, options).await? else {
        return Ok(Parts { copies: vec![described.copy(query, None)], is_ordered: false });
    };
    let copies = match split {
        Split::Column(column) => {
            let bounds = bounds(session, server, described, column, query, parts).await?;
            let conditions = ranges(&column.reference(), &bounds, true);
            conditions.iter().map(|range| described.copy(query, range.as_deref())).collect()
        }
        Split::Blocks(blocks) => {
            let bound = |part| format!("'({},0)'::tid", blocks * part / i64::from(parts));
            let mut bounds: Vec<String> = (1..i64::from(parts)).map(bound).collect();
            bounds.dedup();
            let copy = |range: &Option<String>| match range {
                Some(range) => described.copy(&format!("{query} WHERE {range}"), None),
                None => described.copy(query, None),
            };
            ranges("ctid", &bounds, false).iter().map(copy).collect()
        }
    };
    Ok(Parts { copies, is_ordered })
}

/// The column or the blocks of a table whose ranges are the parts.
pub enum Split<'a> {
    Column(&'a QueryColumn),
    /// A table with this number of blocks.
    Blocks(i64),
}

/// Checks that the query can be split as the options say, without running it. Returns what it is split by, and whether
/// the server must read tables in the same order for each part. `None` means that there is only one part.
pub async fn check<'a>(
    client: &Client,
    server: &Server,
    described: &'a Described,
    options: &Postgres,
) -> Result<Option<(Split<'a>, bool)>> {
    let column = options.split_by.as_deref().map(|name| column(described, name)).transpose()?;
    if options.parallel <= 1 {
        return Ok(None);
    }
    let split = match column {
        Some(column) => Split::Column(column),
        None => {
            let Some(table) = plain_table(&options.query, '"') else { return Err(no_split()) };
            let blocks = blocks(client, table).await.map_err(|error| failure::error_of(server, error))?;
            Split::Blocks(blocks.ok_or_else(no_split)?)
        }
    };
    let is_ordered = plan::check(client, server, described, &options.query, column).await?;
    Ok(Some((split, is_ordered)))
}

/// Returns the column that `split_by` names, ignoring case. Fails if the query has no such column.
pub fn column<'a>(described: &'a Described, name: &str) -> Result<&'a QueryColumn> {
    let lower = name.to_lowercase();
    described.columns.iter().find(|column| column.name == lower).ok_or_else(|| {
        let names: Vec<&str> = described.columns.iter().map(|column| column.name.as_str()).collect();
        Error::config(format!("split_by {name:?} is not a column of the query: expected one of {}", names.join(", ")))
    })
}

fn no_split() -> Error {
    Error::config(
        "parallel needs split_by, unless the query is SELECT columns FROM table on an ordinary table (not a view, and \
         not partitioned): set split_by, or remove parallel",
    )
}

/// The SQL condition that a bound is ASCII. If the database's encoding isn't UTF-8, other text may have no UTF-8 form,
/// so it couldn't be sent here and back.
const ASCII_BOUND: &str = "bound::pg_catalog.text OPERATOR(pg_catalog.~) E'^[\\\\x01-\\\\x7f]*$'";

/// Returns at most `parts - 1` bounds as SQL literals of the column's type, ascending and distinct.
async fn bounds(
    session: &Session,
    server: &Server,
    described: &Described,
    column: &QueryColumn,
    query: &str,
    parts: u32,
) -> Result<Vec<String>> {
    let client = &session.link.client;
    let is_usable = if session.encoding == UTF8 { "true" } else { ASCII_BOUND };
    let histogram = histogram(client, column, is_usable).await.map_err(|error| failure::error_of(server, error))?;
    let parts = parts as usize;
    let mut bounds: Vec<String> = if histogram.len() > parts {
        (1..parts).filter_map(|part| histogram.get(histogram.len() * part / parts).cloned()).collect()
    } else {
        let fractions: Vec<f64> = (1..parts).map(|part| part as f64 / parts as f64).collect();
        let sql = quantiles(described, column, query, is_usable);
        let rows = client.query(&sql, &[&fractions]).await;
        let literals = rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
        literals.map_err(|error| failure::in_statement(server, &sql, query, error))?
    };
    bounds.dedup();
    let of_type = format!("::{}.{}", quoted(column.pg_type.schema()), quoted(column.pg_type.name()));
    Ok(bounds.into_iter().map(|literal| literal + &of_type).collect())
}

/// Returns the query for the quantiles of a column.
fn quantiles(described: &Described, column: &QueryColumn, query: &str, is_usable: &str) -> String {
    format!(
        "SELECT pg_catalog.quote_literal(bound::pg_catalog.text) FROM (SELECT pg_catalog.percentile_disc($1::pg_catalog.float8[]) \
         WITHIN GROUP (ORDER BY {}) AS of FROM {}) AS p, pg_catalog.unnest(p.of) WITH ORDINALITY AS b(bound, at) \
         WHERE bound IS NOT NULL AND {is_usable} ORDER BY at",
        column.reference(),
        described.from(query)
    )
}

/// Returns the bounds in ANALYZE's statistics of a table's column, ascending.
async fn histogram(client: &Client, column: &QueryColumn, is_usable: &str) -> Result<Vec<String>, PgError> {
    let Some((table, number)) = column.origin else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT pg_catalog.quote_literal(bound) FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
             JOIN pg_catalog.pg_stats s ON (s.schemaname, s.tablename, s.attname) = (n.nspname, c.relname, a.attname) \
               AND s.inherited = (c.relkind = 'p'), \
             pg_catalog.unnest(s.histogram_bounds::pg_catalog.text::pg_catalog.text[]) WITH ORDINALITY AS h(bound, at) \
             WHERE c.oid = $1 AND a.attnum = $2 AND {is_usable} ORDER BY h.at"
    );
    let rows = client.query(&sql, &[&table, &number]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Returns the number of blocks of an ordinary table or materialized view, or `None` for any other relation. A
/// partitioned table has no blocks of its own; only its partitions do.
async fn blocks(client: &Client, table: &str) -> Result<Option<i64>, PgError> {
    let row = client
        .query_opt(
            "SELECT pg_catalog.pg_relation_size(oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8 \
             FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1) AND relkind IN ('r', 'm')",
            &[&table],
        )
        .await?;
    row.map(|row| row.try_get(0)).transpose()
}

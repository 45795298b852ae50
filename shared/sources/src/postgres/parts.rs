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
use turntable_core::{
    config::Postgres,
    error::{Error, Result},
};

/// The parts of a query.
pub struct Parts {
    /// The COPY statement for each part.
    pub copies: Vec<String>,
    /// Whether the parts fit together only if the server reads tables in the same order for all of them.
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

/// What the parts are ranges of: a column's values, or a table's blocks.
pub enum Split<'a> {
    Column(&'a QueryColumn),
    /// A table with this number of blocks.
    Blocks(i64),
}

/// Checks that the query can be split as the options say, without running it. Returns what it is split by, and whether
/// the parts fit together only if the server reads tables in the same order for all of them. Returns `None` if the
/// query is not split.
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
            let Some(table) = plain_table(&options.query) else { return Err(no_split()) };
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

/// Returns one SQL condition per range: below the first bound, between each bound and the next, and from the last bound
/// up. If `nullable`, the first range includes nulls. Without bounds, there is one range, which needs no condition.
fn ranges(key: &str, bounds: &[String], nullable: bool) -> Vec<Option<String>> {
    let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else { return vec![None] };
    let lowest = if nullable { format!("({key} < {first} OR {key} IS NULL)") } else { format!("{key} < {first}") };
    let mut ranges = vec![Some(lowest)];
    ranges.extend(bounds.windows(2).map(|pair| Some(format!("{key} >= {} AND {key} < {}", pair[0], pair[1]))));
    ranges.push(Some(format!("{key} >= {last}")));
    ranges
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

/// Returns an SQL query for the quantiles of a column.
fn quantiles(described: &Described, column: &QueryColumn, query: &str, is_usable: &str) -> String {
    format!(
        "SELECT pg_catalog.quote_literal(bound::pg_catalog.text) FROM (SELECT pg_catalog.percentile_disc($1::pg_catalog.float8[]) \
         WITHIN GROUP (ORDER BY {}) AS of FROM {}) AS p, pg_catalog.unnest(p.of) WITH ORDINALITY AS b(bound, at) \
         WHERE bound IS NOT NULL AND {is_usable} ORDER BY at",
        column.reference(),
        described.from(query)
    )
}

/// Returns the bounds that ANALYZE's statistics hold for a table's column, in ascending order.
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

/// Returns the table name in a query of the form `SELECT a, b FROM table`, and `None` for any other query. Splitting
/// other queries into ranges could change their result (aggregates, DISTINCT, LIMIT, joins), or they can't be followed
/// by WHERE.
fn plain_table(query: &str) -> Option<&str> {
    let words: Vec<&str> = query.split_whitespace().collect();
    let [select, list @ .., from, table] = &words[..] else { return None };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '"');
    let names = list.concat();
    // Two words in one item mean an alias or DISTINCT.
    let items = list.join(" ").split(',').all(|item| item.split_whitespace().count() == 1);
    (select.eq_ignore_ascii_case("select")
        && from.eq_ignore_ascii_case("from")
        && items
        && (names == "*" || names.chars().all(|c| plain(c) || c == ','))
        && table.chars().all(plain))
    .then_some(*table)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_value_once() {
        let bounds = |list: &[&str]| list.iter().map(|bound| (*bound).to_owned()).collect::<Vec<_>>();
        assert_eq!(ranges("k", &[], true), [None]);
        let of = |list: &[&str]| ranges("k", &bounds(list), true).into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(of(&["5"]), ["(k < 5 OR k IS NULL)", "k >= 5"]);
        assert_eq!(of(&["5", "7"]), ["(k < 5 OR k IS NULL)", "k >= 5 AND k < 7", "k >= 7"]);
    }

    #[test]
    fn only_plain_selects_are_split_by_blocks() {
        for query in ["SELECT * FROM users", "select a,\n b from public.users", "SELECT \"A\" FROM \"Users\""] {
            assert!(plain_table(query).is_some(), "{query}");
        }
        for query in [
            "SELECT count(*) FROM users",
            "SELECT DISTINCT a FROM users",
            "SELECT a FROM users LIMIT 1",
            "SELECT a FROM users, orders",
            "SELECT a FROM users u",
            "SELECT a FROM users WHERE b",
            "SELECT a FROM (users)",
            "SELECT 'x' FROM users",
            "SELECT FROM users",
            "FROM users",
            "TABLE users",
            "",
        ] {
            assert!(plain_table(query).is_none(), "{query}");
        }
    }
}

//! Splits a query into parts that several connections read concurrently. Together, the parts contain each row exactly
//! once.
//!
//! With `split_by`, the parts are ranges of that column's values. The bounds are quantiles, taken from ANALYZE's
//! statistics or, without statistics, computed by a query. Without `split_by`, the query must be `SELECT columns FROM
//! table` on an ordinary table, and the parts are ranges of its blocks. No row is missed, wherever the bounds lie,
//! because the first and the last range are open-ended.

use tokio_postgres::{Client, Error as PgError};

use super::{
    describe::{Described, QueryColumn},
    failure,
    server::Server,
    types::quoted,
};
use turntable_core::{
    config::Postgres,
    error::{Error, Result},
};

/// Returns the COPY statement for each part.
pub async fn copies(
    client: &Client,
    server: &Server,
    described: &Described,
    options: &Postgres,
) -> Result<Vec<String>> {
    let failed = |error: PgError| failure::error_of(server, error);
    let parts = options.parallel;
    let column = options.split_by.as_deref().map(|name| column(described, name)).transpose()?;
    if parts <= 1 {
        return Ok(vec![described.copy(&options.query, None)]);
    }
    match column {
        Some(column) => {
            let bounds = bounds(client, described, column, &options.query, parts).await.map_err(failed)?;
            let key = format!("q.{}", quoted(&column.name));
            let conditions = ranges(&key, &bounds, true);
            Ok(conditions.iter().map(|range| described.copy(&options.query, range.as_deref())).collect())
        }
        None => {
            let Some(table) = plain_table(&options.query) else { return Err(no_split()) };
            let Some(blocks) = blocks(client, table).await.map_err(failed)? else { return Err(no_split()) };
            let bound = |part| format!("'({},0)'::tid", blocks * part / i64::from(parts));
            let mut bounds: Vec<String> = (1..i64::from(parts)).map(bound).collect();
            bounds.dedup();
            let copy = |range: &Option<String>| match range {
                Some(range) => described.copy(&format!("{} WHERE {range}", options.query), None),
                None => described.copy(&options.query, None),
            };
            Ok(ranges("ctid", &bounds, false).iter().map(copy).collect())
        }
    }
}

/// Returns the column that `split_by` names, ignoring case. Fails if the query has no such column.
fn column<'a>(described: &'a Described, name: &str) -> Result<&'a QueryColumn> {
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

/// Returns at most `parts - 1` bounds as SQL literals of the column's type, ascending and distinct.
async fn bounds(
    client: &Client,
    described: &Described,
    column: &QueryColumn,
    query: &str,
    parts: u32,
) -> Result<Vec<String>, PgError> {
    let parts = parts as usize;
    let of_type = format!("::{}.{}", quoted(column.pg_type.schema()), quoted(column.pg_type.name()));
    let mut histogram: Vec<String> = Vec::new();
    if let Some((table, number)) = column.origin {
        let rows = client
            .query(
                "SELECT quote_literal(bound) FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
                 JOIN pg_catalog.pg_stats s ON (s.schemaname, s.tablename, s.attname) = (n.nspname, c.relname, a.attname) \
                   AND s.inherited = (c.relkind = 'p'), \
                 unnest(s.histogram_bounds::text::text[]) WITH ORDINALITY AS h(bound, at) \
                 WHERE c.oid = $1 AND a.attnum = $2 ORDER BY h.at",
                &[&table, &number],
            )
            .await?;
        histogram = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    }
    let mut bounds: Vec<String> = if histogram.len() > parts {
        (1..parts).map(|part| histogram[histogram.len() * part / parts].clone()).collect()
    } else {
        let fractions: Vec<f64> = (1..parts).map(|part| part as f64 / parts as f64).collect();
        let sql = format!(
            "SELECT quote_literal(bound::text) FROM (SELECT percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY q.{}) AS of \
             FROM {}) AS p, unnest(p.of) WITH ORDINALITY AS b(bound, at) WHERE bound IS NOT NULL ORDER BY at",
            quoted(&column.name),
            described.from(query)
        );
        let rows = client.query(&sql, &[&fractions]).await?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
    };
    bounds.dedup();
    Ok(bounds.into_iter().map(|literal| literal + &of_type).collect())
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
            "SELECT pg_catalog.pg_relation_size(oid) / current_setting('block_size')::bigint \
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

//! Describes a table from PostgreSQL's catalog.

use anyhow::{Context, Result, bail};

use super::{
    database::Database,
    description::{Column, Digits, Table, keys},
};

/// Describes a table or view, given as NAME or SCHEMA.NAME.
pub async fn table(database: &Database, wanted: &str) -> Result<Table> {
    let (schema, name) = match wanted.split_once('.') {
        Some((schema, name)) => (format!("n.nspname = {}", literal(schema)), name),
        None => ("pg_catalog.pg_table_is_visible(c.oid)".to_owned(), wanted),
    };
    let name = literal(name);
    let found = database
        .rows(&format!(
            "SELECT c.oid::text AS oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name, \
               (WITH RECURSIVE parts (oid) AS (SELECT c.oid UNION ALL \
                  SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN parts p ON p.oid = i.inhparent) \
                SELECT coalesce(sum(greatest(l.reltuples, 0)) FILTER (WHERE l.relkind <> 'p'), 0)::bigint::text \
                FROM parts p JOIN pg_catalog.pg_class l ON l.oid = p.oid) AS rows, \
               (c.relkind = 'p')::text AS is_partitioned \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE {schema} AND lower(c.relname) = lower({name}) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
             ORDER BY c.relname = {name} DESC LIMIT 1"
        ))
        .await?;
    let found: Vec<String> = found.into_iter().next().into_iter().flatten().flatten().collect();
    let [oid, name, rows, is_partitioned] = found.as_slice() else {
        bail!("this user sees no table or view {wanted}: try SCHEMA.TABLE");
    };
    let columns = database
        .rows(&format!(
            "SELECT a.attname::text AS name, pg_catalog.quote_ident(a.attname) AS quoted, \
               CASE WHEN t.typtype = 'e' THEN 'enum' ELSE pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), t.oid), \
                 CASE WHEN t.typbasetype = 0 THEN a.atttypmod ELSE t.typtypmod END) END AS of, \
               (a.attnotnull OR (t.typtype = 'd' AND t.typnotnull))::text AS not_null \
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        ))
        .await?;
    // A partial index or an index on expressions makes no column unique, so both are left out.
    let unique = database
        .rows(&format!(
            "SELECT i.indexrelid::text AS index, i.indisprimary::text AS is_primary, a.attname::text AS name \
             FROM pg_catalog.pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, at) \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
             WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
               AND k.at <= i.indnkeyatts ORDER BY i.indexrelid, k.at"
        ))
        .await?;
    let is_empty = database.rows(&format!("SELECT '1' AS one FROM {name} LIMIT 1")).await?.is_empty();
    let column = |row: Vec<Option<String>>| {
        let row: Option<Vec<String>> = row.into_iter().collect();
        let [name, quoted, database_type, not_null] = <[String; 4]>::try_from(row?).ok()?;
        Some(Column { name, quoted, database_type, not_null: not_null == "true", is_invisible: false, digits: None })
    };
    let columns: Option<Vec<Column>> = columns.into_iter().map(column).collect();
    let mut columns = columns.context("the catalog returned a null name")?;
    let rows: u64 = rows.parse().unwrap_or_default();
    for column in columns.iter_mut().filter(|column| column.database_type == "numeric") {
        column.digits = digits(database, name, &column.quoted, rows).await?;
    }
    let is_partitioned = is_partitioned == "true";
    Ok(Table { name: name.clone(), columns, keys: keys(unique), is_empty, rows, is_partitioned })
}

/// The number of rows up to which all values of a column are read.
const READ_ROWS: u64 = 1_000_000;

/// Returns the digits that the values of a `numeric` column need. Reads at most [`READ_ROWS`] rows. Returns `None` if
/// there is no value, if one is NaN or an infinity, or if the user may not read the column.
async fn digits(database: &Database, table: &str, column: &str, rows: u64) -> Result<Option<Digits>> {
    let is_part = rows > READ_ROWS;
    let limit = if is_part { format!(" LIMIT {READ_ROWS}") } else { String::new() };
    let found = database
        .rows(&format!(
            "SELECT max(pg_catalog.length(pg_catalog.trunc(pg_catalog.abs(x))::text))::text AS before_point, \
               max(pg_catalog.scale(x))::text AS after_point, \
               pg_catalog.bool_or(x::text IN ('NaN', 'Infinity', '-Infinity'))::text AS is_odd \
             FROM (SELECT {column} AS x FROM {table}{limit}) t"
        ))
        .await;
    // The export needs the same rights, and reports what is missing.
    let Ok(found) = found else { return Ok(None) };
    Ok(match found.first().map(Vec::as_slice) {
        Some([Some(before), Some(after), Some(odd)]) if odd == "false" => {
            let number = before.parse().ok().zip(after.parse().ok());
            number.map(|(before_point, after_point)| Digits {
                before_point,
                after_point,
                of: is_part.then_some(READ_ROWS),
            })
        }
        _ => None,
    })
}

/// Returns the tables in one schema or in all schemas that the user may read, as `SCHEMA.NAME`. Leaves out the tables
/// of the system and of extensions, and partitions, because their parent table is listed.
pub async fn tables(database: &Database, schema: Option<&str>) -> Result<Vec<String>> {
    let schema = match schema {
        Some(schema) => format!("n.nspname = {}", literal(schema)),
        None => "n.nspname <> 'information_schema' AND n.nspname NOT LIKE E'pg\\\\_%'".to_owned(),
    };
    let found = database
        .rows(&format!(
            "SELECT n.nspname || '.' || c.relname AS name \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE {schema} AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
               AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
                 AND d.objid = c.oid AND d.deptype = 'e') \
             ORDER BY 1"
        ))
        .await?;
    Ok(found.into_iter().flatten().flatten().collect())
}

/// Encodes `text` as an SQL literal that means the same with every setting of `standard_conforming_strings`.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

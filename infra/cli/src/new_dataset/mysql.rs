//! Describes a table from the information schema of MySQL or MariaDB.

use anyhow::{Context, Result, bail};

use super::{
    database::Database,
    description::{Column, Table, keys},
};

/// Describes a table or view, given as NAME or DATABASE.NAME.
pub async fn table(database: &Database, wanted: &str) -> Result<Table> {
    let (schema, name) = match wanted.split_once('.') {
        Some((schema, name)) => (literal(schema), name),
        None => ("DATABASE()".to_owned(), wanted),
    };
    let of = format!("table_schema = {schema} AND table_name = {}", literal(name));
    let found = database
        .rows(&format!(
            "SELECT CAST(table_schema AS CHAR) AS s, CAST(table_name AS CHAR) AS t, \
               CAST(coalesce(table_rows, 0) AS CHAR) AS n FROM information_schema.tables WHERE {of}"
        ))
        .await?;
    let found: Vec<String> = found.into_iter().next().into_iter().flatten().flatten().collect();
    let [schema, name, rows] = found.as_slice() else {
        bail!("this user sees no table or view {wanted}: try DATABASE.TABLE, in the right case");
    };
    let columns = database
        .rows(&format!(
            "SELECT CAST(column_name AS CHAR) AS c, CAST(column_type AS CHAR) AS k, \
               CAST(is_nullable AS CHAR) AS n, CAST(extra AS CHAR) AS e FROM information_schema.columns WHERE {of} ORDER BY ordinal_position"
        ))
        .await?;
    // A unique index on a column's prefix makes the whole column unique too. An index on an expression is left out,
    // because the expression has no column name.
    let unique = database
        .rows(&format!(
            "SELECT CAST(index_name AS CHAR) AS i, IF(index_name = 'PRIMARY', 'true', 'false') AS p, \
               CAST(column_name AS CHAR) AS c FROM information_schema.statistics s WHERE {of} AND non_unique = 0 \
               AND NOT EXISTS (SELECT 1 FROM information_schema.statistics o WHERE o.table_schema = s.table_schema \
                 AND o.table_name = s.table_name AND o.index_name = s.index_name AND o.column_name IS NULL) \
             ORDER BY index_name, seq_in_index"
        ))
        .await?;
    let name = format!("{}.{}", quoted(schema), quoted(name));
    let is_empty = database.rows(&format!("SELECT '1' AS one FROM {name} LIMIT 1")).await?.is_empty();
    let column = |row: Vec<Option<String>>| {
        let row: Option<Vec<String>> = row.into_iter().collect();
        let [name, database_type, nullable, extra] = <[String; 4]>::try_from(row?).ok()?;
        let is_invisible = extra.to_uppercase().contains("INVISIBLE");
        Some(Column {
            quoted: quoted(&name),
            name,
            database_type,
            not_null: nullable == "NO",
            is_invisible,
            digits: None,
        })
    };
    Ok(Table {
        columns: columns
            .into_iter()
            .map(column)
            .collect::<Option<_>>()
            .context("the information schema returned a null name")?,
        name,
        keys: keys(unique),
        is_empty,
        rows: rows.parse().unwrap_or_default(),
        // A partitioned table is read like any other.
        is_partitioned: false,
    })
}

/// Returns the tables in one database that the user may read, as `DATABASE.NAME`. If `schema` is `None`, it is the
/// URL's database or, if the URL has none, all databases except the system's.
pub async fn tables(database: &Database, schema: Option<&str>) -> Result<Vec<String>> {
    let schema = match schema {
        Some(schema) => format!("table_schema = {}", literal(schema)),
        None => "table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') \
                 AND (DATABASE() IS NULL OR table_schema = DATABASE())"
            .to_owned(),
    };
    let found = database
        .rows(&format!(
            "SELECT CAST(CONCAT(table_schema, '.', table_name) AS CHAR) AS t FROM information_schema.tables \
             WHERE {schema} AND table_type = 'BASE TABLE' ORDER BY 1"
        ))
        .await?;
    Ok(found.into_iter().flatten().flatten().collect())
}

/// Encodes `text` as a hexadecimal SQL literal, because the meaning of a backslash depends on `sql_mode`.
fn literal(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("CONVERT(X'{digits}' USING utf8mb4)")
}

/// Quotes a name. Every name is quoted, because the reserved words depend on the server.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

//! Divides a table into ranges of an integer column, which several connections read.

use mysql_async::{Conn, Value, prelude::Queryable};

use super::{failure, server::Server, value::text};
use crate::ranges::{plain_table, ranges};
use turntable_core::{
    config::Mysql,
    error::{Error, Result},
};

/// The number of ranges for each connection. A connection that has read a range takes the next one, so that no
/// connection finishes long after the others because its range has many rows.
const RANGES_PER_CONNECTION: u32 = 8;

const INTEGERS: [&str; 5] = ["tinyint", "smallint", "mediumint", "int", "bigint"];

/// The table that a query reads, and the column whose ranges divide it, both in SQL.
pub struct Split {
    pub table: String,
    pub column: String,
}

/// A column that begins an index.
struct Key {
    name: String,
    data_type: String,
    is_primary: bool,
}

/// Returns how the query's rows are divided. Fails if it isn't `SELECT columns FROM table` on an InnoDB table with an
/// index that begins with an integer column.
pub async fn check(conn: &mut Conn, server: &Server, options: &Mysql) -> Result<Split> {
    let table = plain_table(&options.query, '`').ok_or_else(|| {
        Error::config(
            "parallel needs a query of the form SELECT columns FROM table: change the query, or remove parallel",
        )
    })?;
    let failed = |error| failure::error_of(server, error);
    let (schema, name) = names(table);
    let of = "TABLE_SCHEMA = coalesce(?, database()) AND TABLE_NAME = ?";
    let sql = format!("SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE {of}");
    let found: Option<(Value, Value)> = conn.exec_first(sql, (&schema, &name)).await.map_err(failed)?;
    if !found.is_some_and(|(kind, engine)| text(&kind) == "BASE TABLE" && text(&engine) == "InnoDB") {
        return Err(Error::config(format!(
            "parallel needs an InnoDB table, but {table} is a view or has another storage engine, and so no snapshot: \
             remove parallel"
        )));
    }
    let sql = format!(
        "SELECT s.COLUMN_NAME, c.DATA_TYPE, s.INDEX_NAME = 'PRIMARY' FROM information_schema.STATISTICS s \
         JOIN information_schema.COLUMNS c USING (TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME) \
         WHERE {of} AND s.SEQ_IN_INDEX = 1"
    );
    let found: Vec<(Value, Value, Option<i64>)> = conn.exec(sql, (&schema, &name)).await.map_err(failed)?;
    let key = |(name, data_type, is_primary): &(Value, Value, Option<i64>)| Key {
        name: text(name),
        data_type: text(data_type).to_lowercase(),
        is_primary: *is_primary == Some(1),
    };
    let keys: Vec<Key> = found.iter().map(key).filter(|key| INTEGERS.contains(&key.data_type.as_str())).collect();
    let wanted = |key: &&Key| match &options.split_by {
        Some(name) => key.name.eq_ignore_ascii_case(name),
        None => key.is_primary,
    };
    let column = keys.iter().find(wanted).ok_or_else(|| match &options.split_by {
        Some(name) => Error::config(format!(
            "split_by {name:?} is not an integer column of {table} that begins an index: name one that does, or remove \
             parallel"
        )),
        None => Error::config(format!(
            "parallel needs split_by, because the primary key of {table} doesn't begin with an integer column: name an \
             integer column that begins an index, or remove parallel"
        )),
    })?;
    Ok(Split { table: table.to_owned(), column: format!("`{}`", column.name.replace('`', "``")) })
}

/// Returns the queries for the parts: together they return each row of the query once.
pub async fn queries(conn: &mut Conn, server: &Server, options: &Mysql, split: &Split) -> Result<Vec<String>> {
    let Split { table, column } = split;
    let ends = format!("SELECT cast(min({column}) AS char), cast(max({column}) AS char) FROM {table}");
    let ends: Option<(Value, Value)> =
        conn.query_first(ends).await.map_err(|error| failure::error_of(server, error))?;
    let ends = ends.and_then(|(least, most)| Some((text(&least).parse().ok()?, text(&most).parse().ok()?)));
    let bounds = ends.map(|(least, most)| bounds(least, most, options.parallel * RANGES_PER_CONNECTION));
    let of = |range: Option<String>| match range {
        Some(condition) => format!("{}\nWHERE {condition}", options.query),
        None => options.query.clone(),
    };
    Ok(ranges(column, &bounds.unwrap_or_default(), true).into_iter().map(of).collect())
}

/// Returns the bounds between `parts` ranges of equal width, ascending and distinct.
fn bounds(least: i128, most: i128, parts: u32) -> Vec<String> {
    let of = |part: u32| least + (most - least + 1) * i128::from(part) / i128::from(parts);
    let mut bounds: Vec<i128> = (1..parts).map(of).filter(|bound| *bound > least).collect();
    bounds.dedup();
    bounds.iter().map(i128::to_string).collect()
}

/// Returns the database, if the table's name has one, and the table, without quotes.
fn names(table: &str) -> (Option<String>, String) {
    let bare = |name: &str| name.trim_matches('`').to_owned();
    match table.split_once('.') {
        Some((schema, name)) => (Some(bare(schema)), bare(name)),
        None => (None, bare(table)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_equal_widths() {
        assert_eq!(bounds(1, 100, 4), ["26", "51", "76"]);
        assert_eq!(bounds(7, 7, 4), Vec::<String>::new());
        assert_eq!(bounds(1, 2, 4), ["2"]);
        assert_eq!(bounds(i64::MIN.into(), u64::MAX.into(), 2), ["4611686018427387904"]);
    }

    #[test]
    fn a_table_may_name_its_database() {
        assert_eq!(names("users"), (None, "users".into()));
        assert_eq!(names("`Shop`.users"), (Some("Shop".into()), "users".into()));
    }
}

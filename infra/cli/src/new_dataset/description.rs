//! A table as its database describes it.

/// The kind of database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Mysql,
}

/// A table or view.
pub struct Table {
    /// The name in SQL.
    pub name: String,
    pub columns: Vec<Column>,
    /// The unique keys, the primary key first.
    pub keys: Vec<Key>,
    pub is_empty: bool,
    /// The database's estimate of the number of rows.
    pub rows: u64,
    /// Whether the table consists of partitions, so that it has no blocks of its own to split it by.
    pub is_partitioned: bool,
}

pub struct Column {
    pub name: String,
    /// The name in SQL, quoted where needed.
    pub quoted: String,
    /// The type, in the database's notation.
    pub database_type: String,
    pub not_null: bool,
    /// Whether the column is INVISIBLE in MySQL or MariaDB, so that `SELECT *` leaves it out.
    pub is_invisible: bool,
    /// For a number type without a precision, the digits that the column's values need. `None` for other columns, and
    /// if the values don't show it.
    pub digits: Option<Digits>,
}

/// How many digits the values of a column need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    pub before_point: u32,
    pub after_point: u32,
    /// The number of rows that were read, if not all were.
    pub of: Option<u64>,
}

/// Columns that are unique together.
pub struct Key {
    pub columns: Vec<String>,
    pub is_primary: bool,
}

/// A column that is published, and its Glue type.
pub struct Published<'a> {
    pub column: &'a Column,
    /// The name in the published table: unique, and usable in Athena without quotes.
    pub name: String,
    pub glue_type: String,
}

/// A column that is not published, and the reason.
pub type LeftOut<'a> = (&'a Column, String);

/// Groups rows of (key name, whether it is the primary key, column name) into keys, the primary key first. The rows of
/// a key must be adjacent.
pub fn keys(rows: Vec<Vec<Option<String>>>) -> Vec<Key> {
    let mut keys: Vec<(String, Key)> = Vec::new();
    for row in rows {
        let [Some(name), Some(primary), Some(column)] = row.as_slice() else { continue };
        match keys.last_mut().filter(|(last, _)| last == name) {
            Some((_, key)) => key.columns.push(column.clone()),
            None => keys.push((name.clone(), Key { columns: vec![column.clone()], is_primary: primary == "true" })),
        }
    }
    keys.sort_by_key(|(_, key)| !key.is_primary);
    keys.into_iter().map(|(_, key)| key).collect()
}

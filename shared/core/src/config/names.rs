//! What names something in Glue or S3: locations, tables, columns.

use std::collections::BTreeSet;

use super::read::{Keys, described};
use crate::{
    layout::Location,
    schema::{Column, GlueType},
};

/// The names of `partition_by`, lower case.
pub fn folders(keys: &Keys) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for name in keys.strings("partition_by").unwrap_or_default() {
        let name = name.to_lowercase();
        if let Err(fault) = identifier(&name) {
            keys.fault("partition_by", format!("a folder is called like its column, and {fault}"));
        } else if columns.contains(&name) {
            keys.fault("partition_by", format!("{name:?} stands there twice"));
        } else {
            columns.push(name);
        }
    }
    columns
}

/// `columns = { id = "bigint", name = "string" }`, in the order in which they stand.
pub fn columns(keys: &Keys) -> Option<Vec<Column>> {
    let value = keys.value("columns")?;
    let Some(table) = value.as_table().filter(|table| !table.is_empty()) else {
        keys.fault("columns", format!("expected a table of NAME = \"TYPE\", found {}", described(value)));
        return None;
    };
    let mut columns: Vec<Column> = Vec::new();
    for (name, value) in table {
        let path = keys.at(&format!("columns.{name}"));
        let Some(text) = value.as_str() else {
            keys.faults().push(&path, format!("expected a type such as \"bigint\", found {}", described(value)));
            continue;
        };
        match GlueType::parse(text).map(|glue_type| glue_type.to_string()) {
            Ok(glue_type) => columns.push(Column { name: name.to_lowercase(), glue_type }),
            Err(fault) => keys.faults().push(&path, fault),
        }
    }
    let mut seen = BTreeSet::new();
    for column in columns.iter().filter(|column| !seen.insert(&column.name)) {
        keys.fault("columns", format!("{:?} stands there twice (Glue's names are lower case)", column.name));
    }
    Some(columns)
}

/// How a fault ends that tells of a `${NAME}` for which nothing was put in.
pub const LAPTOP_ONLY: &str = "is replaced on a laptop only: write what it stands for";

/// A text with no `${NAME}` left in it. The fault says no more of the text, in which there may be a password.
pub fn written(text: &str) -> Result<&str, String> {
    let name = text.split_once("${").and_then(|(_, rest)| rest.split_once('}'));
    name.map_or(Ok(text), |(name, _)| Err(format!("${{{name}}} {LAPTOP_ONLY}")))
}

pub fn location(text: &str) -> Result<Location, String> {
    written(text)?;
    text.parse::<Location>().map_err(|error| error.message().to_owned())
}

/// Glue's databases and tables, as Athena can name them without quotes.
pub fn identifier(text: &str) -> Result<String, String> {
    let good = text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if good {
        return Ok(text.into());
    }
    Err(format!("{text:?} is no name for a table: expected a-z, 0-9 and _, not a digit first, at most 128"))
}

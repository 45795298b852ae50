//! Reads the names of Glue tables and columns, and S3 locations.

use std::collections::BTreeSet;

use toml::Value;

use super::read::{Keys, described};
use crate::{
    layout::Location,
    schema::{Column, GlueType, readable},
};

/// Reads `partition_by`. Returns the column names in lower case.
pub fn folders(keys: &Keys) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for name in keys.strings("partition_by").unwrap_or_default() {
        let name = name.to_lowercase();
        if let Err(fault) = identifier(&name) {
            keys.fault("partition_by", format!("the column becomes a folder name, but {fault}"));
        } else if columns.contains(&name) {
            keys.fault("partition_by", format!("{name:?} is listed twice"));
        } else {
            columns.push(name);
        }
    }
    columns
}

/// Reads one column name or a list of distinct names. Returns them in lower case.
pub fn column_names(keys: &Keys, key: &'static str) -> Option<Vec<String>> {
    let value = keys.value(key)?;
    let names = column_names_of(value);
    if names.is_none() {
        keys.fault(
            key,
            format!("expected a column name or a list of distinct column names, found {}", described(value)),
        );
    }
    names
}

/// Returns the names in lower case. Returns `None` if there are no names, or if one is empty, repeated or not a string.
pub fn column_names_of(value: &Value) -> Option<Vec<String>> {
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let names: Vec<String> = texts.iter().map(|text| text.trim().to_lowercase()).collect();
    let twice = (1..names.len()).any(|at| names[..at].contains(&names[at]));
    (!names.is_empty() && !twice && names.iter().all(|name| !name.is_empty())).then_some(names)
}

/// Reads `columns = { id = "bigint", name = "string" }`. Returns the columns in the order in which they are declared.
pub fn columns(keys: &Keys) -> Option<Vec<Column>> {
    let value = keys.value("columns")?;
    let Some(table) = value.as_table().filter(|table| !table.is_empty()) else {
        keys.fault(
            "columns",
            format!(
                "expected a table with at least one column, such as {{ id = \"bigint\" }}, found {}",
                described(value)
            ),
        );
        return None;
    };
    let mut columns: Vec<Column> = Vec::new();
    for (name, value) in table {
        let path = keys.at(&format!("columns.{name}"));
        let Some(text) = value.as_str() else {
            keys.faults().push(&path, format!("expected a type such as \"bigint\", found {}", described(value)));
            continue;
        };
        match GlueType::parse(text).and_then(|glue_type| readable(&name.to_lowercase(), &glue_type)) {
            Ok(column) => columns.push(column),
            Err(fault) => keys.faults().push(&path, fault),
        }
    }
    let mut seen = BTreeSet::new();
    for column in columns.iter().filter(|column| !seen.insert(&column.name)) {
        keys.fault("columns", format!("{:?} is declared twice: Glue ignores case in column names", column.name));
    }
    Some(columns)
}

/// The end of the error message for a `${NAME}` that wasn't replaced.
pub const LAPTOP_ONLY: &str = "is replaced only in local runs: write the value itself";

/// Checks that `text` has no `${NAME}` left in it. The error quotes only that placeholder, because the rest may contain
/// a password.
pub fn written(text: &str) -> Result<&str, String> {
    let name = text.split_once("${").and_then(|(_, rest)| rest.split_once('}'));
    name.map_or(Ok(text), |(name, _)| Err(format!("${{{name}}} {LAPTOP_ONLY}")))
}

pub fn location(text: &str) -> Result<Location, String> {
    written(text)?;
    text.parse::<Location>().map_err(|error| error.message().to_owned())
}

/// Checks that Athena accepts a name without quotes.
pub fn identifier(text: &str) -> Result<String, String> {
    let good = text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if good {
        return Ok(text.into());
    }
    Err(format!(
        "{text:?} is not a valid name: use at most 128 characters of a-z, 0-9 and _, and don't begin with a digit"
    ))
}

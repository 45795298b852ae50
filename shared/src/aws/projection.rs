//! The partitions of a Glue table that Athena projects, and what a flip changes of them.

use std::collections::HashMap;

use aws_sdk_glue::types::{Column as GlueColumn, Table, TableInput};

use crate::{
    error::{Error, Result},
    name::{Location, TableName},
    partition::{self, Partition},
    schema::Column,
};

const ENABLED: &str = "projection.enabled";
const TEMPLATE: &str = "storage.location.template";

/// The columns that are folders.
pub fn keys(table: &Table) -> Vec<Column> {
    let column = |column: &GlueColumn| Column {
        name: column.name.to_lowercase(),
        glue_type: column.r#type.clone().unwrap_or_default().to_lowercase(),
    };
    table.partition_keys().iter().map(column).collect()
}

/// Whether Athena computes the partitions, and looks none up.
pub fn is_on(table: &Table) -> bool {
    parameter(table, ENABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn parameter<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.parameters()?.get(key).map(String::as_str)
}

/// Athena reads partitions where the template says; live is where Location says. A flip moves both with one call, so
/// where the template does not lie in Location, somebody else has moved one of them.
pub fn agrees(name: &TableName, table: &Table, location: &Location) -> Result<()> {
    let Some(found) = parameter(table, TEMPLATE) else { return Ok(()) };
    let fixed = found.split("${").next().unwrap_or(found);
    let folder = fixed.rsplit_once('/').map_or(fixed, |(folder, _)| folder).parse::<Location>();
    if folder.is_ok_and(|folder| folder.bucket == location.bucket && folder.prefix.starts_with(&location.prefix)) {
        return Ok(());
    }
    let keys = keys(table);
    Err(Error::conflict(format!(
        "{name} has the location {location}, and its {TEMPLATE} {found:?} does not lie in it: somebody changed one of \
         them, and readers read the second; set {TEMPLATE} to {:?}, or the location to where the template lies, and \
         run again",
        partition::template(location, keys.iter().map(|key| key.name.as_str()))
    )))
}

/// Makes the table find these partitions at the location. What people have written to other parameters stays.
pub fn set(input: &mut TableInput, location: &Location, partitions: &[Partition]) {
    if partitions.is_empty() {
        return;
    }
    let parameters = input.parameters.get_or_insert_with(HashMap::new);
    let names = || partitions.iter().map(|partition| partition.column.name.as_str());
    parameters.retain(|key, _| !names().any(|name| key.to_lowercase().starts_with(&partition::parameters_of(name))));
    parameters.insert(ENABLED.into(), "true".into());
    parameters.insert(TEMPLATE.into(), partition::template(location, names()));
    parameters.extend(partitions.iter().flat_map(Partition::parameters));
}

/// The partition keys and parameters of one table, for another one over the same files.
pub fn copy(from: &TableInput, to: &mut TableInput) {
    to.partition_keys.clone_from(&from.partition_keys);
    let projection = |key: &str| key.starts_with("projection.") || key == TEMPLATE;
    let parameters = from.parameters.iter().flatten().filter(|(key, _)| projection(key));
    let parameters = parameters.map(|(key, value)| (key.clone(), value.clone()));
    to.parameters.get_or_insert_with(HashMap::new).extend(parameters);
}

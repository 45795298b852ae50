//! Partition projection settings of a Glue table, and how a flip changes them.

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

/// Returns the partition keys: the columns that are folders.
pub fn keys(table: &Table) -> Vec<Column> {
    let column = |column: &GlueColumn| Column {
        name: column.name.to_lowercase(),
        glue_type: column.r#type.clone().unwrap_or_default().to_lowercase(),
    };
    table.partition_keys().iter().map(column).collect()
}

/// Returns whether Athena projects the table's partitions, so that it computes them and looks none up.
pub fn is_on(table: &Table) -> bool {
    parameter(table, ENABLED).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn parameter<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.parameters()?.get(key).map(String::as_str)
}

/// Checks that the location template lies in the table's Location. Athena reads partitions from the template, and
/// Location names the live generation. A flip moves both with one call, so if they differ, somebody else has moved one
/// of them.
pub fn agrees(name: &TableName, table: &Table, location: &Location) -> Result<()> {
    let Some(found) = parameter(table, TEMPLATE) else { return Ok(()) };
    let fixed = found.split("${").next().unwrap_or(found);
    let folder = fixed.rsplit_once('/').map_or(fixed, |(folder, _)| folder).parse::<Location>();
    if folder.is_ok_and(|folder| folder.bucket == location.bucket && folder.prefix.starts_with(&location.prefix)) {
        return Ok(());
    }
    let keys = keys(table);
    Err(Error::conflict(format!(
        "{name} has the location {location}, but its {TEMPLATE} {found:?} lies elsewhere: somebody changed one of \
         them, and Athena reads from the template; set {TEMPLATE} to {:?}, or set the location to the template's \
         folder, then run again",
        partition::template(location, keys.iter().map(|key| key.name.as_str()))
    )))
}

/// Sets the projection of these partitions at the location. Other parameters stay as they are.
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

/// Copies the partition keys and projection parameters to another table over the same files.
pub fn copy(from: &TableInput, to: &mut TableInput) {
    to.partition_keys.clone_from(&from.partition_keys);
    let projection = |key: &str| key.starts_with("projection.") || key == TEMPLATE;
    let parameters = from.parameters.iter().flatten().filter(|(key, _)| projection(key));
    let parameters = parameters.map(|(key, value)| (key.clone(), value.clone()));
    to.parameters.get_or_insert_with(HashMap::new).extend(parameters);
}

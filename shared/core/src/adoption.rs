//! The adoption of a table that Turntable didn't create: what the first flip changes in it besides its location.

use serde::{Deserialize, Serialize};

use crate::{
    schema::changes,
    table::{ParametersOf, StorageFormat, TableChange, TableVersion},
};

/// What the first flip changes in a table that Turntable adopts. Everything else in the table stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The parameters that are removed because they describe the old files: statistics, and Spark's copies of the
    /// location and the columns. A name has the suffix `(storage descriptor)` or `(SerDe)` if the parameter was set
    /// there and not on the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// One message for each change to a column, to the format or to the partition projection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

impl Adoption {
    /// Returns what `change` does to the table.
    pub fn of(table: &TableVersion, change: &TableChange) -> Adoption {
        let columns = change.columns.iter().flat_map(|columns| changes(&table.columns, columns));
        let mut changed: Vec<String> = columns.map(|change| change.to_string()).collect();
        let output = StorageFormat::parquet().output;
        if let Some(found) = table.format.output.as_ref().filter(|found| output.as_ref() != Some(found)) {
            changed.push(format!("the output format is {found} and becomes Parquet's"));
        }
        if !change.partitions.is_empty() {
            changed.push("the partition projection gets the ranges and the template of the new files".into());
        }
        Adoption { removed: removed(table), changed }
    }
}

fn removed(table: &TableVersion) -> Vec<String> {
    let places = [
        (ParametersOf::Table, &table.parameters, ""),
        (ParametersOf::Storage, &table.storage_parameters, " (storage descriptor)"),
        (ParametersOf::Serde, &table.format.serde_parameters, " (SerDe)"),
    ];
    let named = places.into_iter().flat_map(|(of, parameters, place)| {
        let found = parameters.keys().filter(move |name| of.describe_files(name));
        found.map(move |name| format!("{name}{place}"))
    });
    named.collect()
}

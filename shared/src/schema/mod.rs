//! The columns of a table: their types, how two sets of columns differ, and which changes are allowed.

mod change;
mod policy;
mod text;
mod types;

use arrow_schema::Schema;
use serde::{Deserialize, Serialize};

pub use change::{Change, changes};
pub use policy::Policy;
pub use types::{ELEMENT, arrow_type, glue_type};

/// One column as Glue stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Lower case.
    pub name: String,
    /// In Glue's spelling, without spaces: `array<decimal(10,2)>`.
    #[serde(rename = "type")]
    pub glue_type: String,
}

/// Returns the columns of a schema. The error names every column for which Glue has no type.
pub fn columns(schema: &Schema) -> Result<Vec<Column>, String> {
    let mut faults = Vec::new();
    let mut columns = Vec::new();
    for field in schema.fields() {
        match glue_type(field.data_type()) {
            Ok(glue_type) => columns.push(Column { name: field.name().clone(), glue_type }),
            Err(fault) => faults.push(format!("column {:?}: {fault}", field.name())),
        }
    }
    if faults.is_empty() { Ok(columns) } else { Err(faults.join("; ")) }
}

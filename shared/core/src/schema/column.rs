//! One column of a table.

use serde::{Deserialize, Serialize};

/// One column as Glue stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Lower case.
    pub name: String,
    /// In Glue's spelling, without spaces: `array<decimal(10,2)>`.
    #[serde(rename = "type")]
    pub glue_type: String,
}

//! One column of a table.

use serde::{Deserialize, Serialize};

/// One column, as Glue stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name, in lower case.
    pub name: String,
    /// The type in Glue's spelling, without spaces, such as `array<decimal(10,2)>`.
    #[serde(rename = "type")]
    pub glue_type: String,
}

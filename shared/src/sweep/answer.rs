//! `sweep`'s answer.

use jiff::Timestamp;
use serde::Serialize;

/// `sweep`'s answer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Swept {
    pub dry_run: bool,
    pub deleted: Vec<Item>,
    pub kept: Vec<Item>,
    /// Drops that were moved from an inbox to the archive, one item per inbox.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archived: Vec<Item>,
    /// The total size of all deleted items, in bytes.
    pub bytes: u64,
    /// Datasets that were skipped or could not be swept completely, and why.
    pub skipped: Vec<Skipped>,
    /// Messages for an operator.
    pub notes: Vec<String>,
    /// Whether deletable objects may remain because this invocation reached its limits. The next invocation continues.
    pub more: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Item {
    pub dataset: String,
    /// A generation's location, a key, or a table.
    pub location: String,
    pub reason: String,
    pub objects: u64,
    pub bytes: u64,
    /// When a kept item may be deleted if nothing else happens. `None` if this is unknown, or if the item is never
    /// deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    pub dataset: String,
    pub reason: String,
    /// The error's kind, if the dataset was skipped because of an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
}

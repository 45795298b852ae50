//! The evidence that an audit is based on.

use jiff::Timestamp;

use super::statistics::Statistics;
use crate::{
    config::Checks,
    manifest::Manifest,
    schema::{Column, Policy},
};

/// The facts that a verdict is based on.
pub struct Evidence<'a> {
    pub now: Timestamp,
    pub manifest: &'a Manifest,
    /// The objects under the candidate's location, without those that Athena ignores.
    pub objects: &'a [Object],
    /// The footers of the manifest's files. Empty if `objects` doesn't match the manifest.
    pub footers: &'a [Footer],
    /// The table's columns. `None` if the table doesn't exist yet.
    pub table: Option<&'a [Column]>,
    /// The table's partition keys. `None` if the table doesn't exist yet.
    pub partition_keys: Option<&'a [Column]>,
    /// Which changes to the table's columns a flip may make.
    pub policy: Policy,
    /// The number of rows in the live generation. `None` if unknown.
    pub live_rows: Option<u64>,
    pub checks: &'a Checks,
}

/// One object under the candidate's location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The key, relative to the location.
    pub key: String,
    pub bytes: u64,
    pub etag: String,
}

/// The parts of one file's Parquet footer that the audit uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Footer {
    /// The file's key, relative to the location.
    pub key: String,
    pub rows: u64,
    pub columns: Vec<Column>,
    /// The statistics for each of `columns`. `None` for a column that isn't found.
    pub statistics: Vec<Option<Statistics>>,
    /// The statistics for each of the manifest's partition columns, derived from the file's key. Empty if the file's
    /// folders don't match these columns.
    pub partitions: Vec<Statistics>,
}

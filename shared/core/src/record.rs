//! The records of flips, flip intents, holds, sweeps and engine runs: small JSON objects in the table's folder.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    adoption::Adoption,
    error::{Error, Result},
    layout::{Generation, Key, Location, TableName},
};

/// The record of one flip, `_flips/ULID.json`. Sorted by ULID, a table's flip records are its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    pub dataset: String,
    /// When the record was written, after the table had been updated.
    pub at: Timestamp,
    /// The location that was live before; `None` if there was no table or if it is no longer known.
    pub from: Option<Location>,
    pub to: Generation,
    pub by: FlipOrigin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `None` if no canary checks this flip: the dataset had none, or the flip goes back to an earlier generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// What the flip changed in a table that Turntable didn't create. `None` for every flip except the one that adopted
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adoption>,
    /// Lambda's ID for the invocation that made the flip. CloudTrail's data event for this ID says who invoked the
    /// function. `None` outside Lambda, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The state of a flip's canary. There is no state for a failure: the table is flipped back, and the record of the flip
/// back has [`FlipOrigin::Canary`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// The query has not run yet, or it got no answer. The next process that finds the generation live runs the query.
    Pending,
    Passed,
}

/// What caused a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlipOrigin {
    /// The S3 event for a new manifest, or a refresh of opt-outs.
    Event,
    /// An operator's request.
    Operator,
    /// An operator's rollback.
    Rollback,
    /// The canary failed, so the table was flipped back.
    Canary,
    /// Somebody outside Turntable had moved the table, so it was flipped back.
    Repair,
    /// One member of the group could not flip, so the whole group was flipped back.
    Group,
    /// The process died before it recorded the flip. The next process that found the generation live wrote this record.
    Recovered,
}

/// The intent to flip to a generation that was live before. It is written to `_returns/` before the table is updated.
///
/// The table's Location alone doesn't distinguish such a flip from drift. The intent does, even if the flip record is
/// lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevertIntent {
    /// The ULID of the flip record.
    #[serde(with = "text")]
    pub flip: Ulid,
    pub to: Generation,
    pub by: FlipOrigin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// See [`Flip::request_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// An operator's order that a dataset must not flip until the hold is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub at: Timestamp,
    pub reason: String,
    /// Whether the hold has been released. A released hold has no effect, but stays in S3, because only sweep may
    /// delete objects.
    #[serde(default)]
    pub released: bool,
    /// See [`Flip::request_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Marks a generation that sweep is deleting. Sweep writes it before it deletes any of the generation's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweeping {
    pub at: Timestamp,
}

/// The record of an engine run. It is written before the engine is called, so that a retry finds the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    /// The location that was live when the run started; `None` if there was no table.
    pub base: Option<Location>,
    /// A time before the engine was called, so the engine reads the data as of this time or later.
    pub as_of: Timestamp,
    /// The [`crate::config::Dataset::spec`] that the generation is built from.
    pub spec: String,
    pub work: Work,
    /// The columns that become folders, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<Folder>,
    /// The latest time at which the engine's run can end, whatever its result.
    pub until: Timestamp,
    /// See [`crate::manifest::Manifest::inputs`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Generation>,
    /// The engine's ID for the run; `None` until its start is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// The complete input for an engine run, so that a retry can send exactly the same request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    Athena {
        workgroup: String,
        database: String,
        /// The whole `UNLOAD` statement.
        sql: String,
    },
    GlueJob {
        name: String,
        arguments: BTreeMap<String, String>,
        /// The timeout of the job run, in minutes.
        timeout: u32,
    },
}

/// Identifies an engine run by the engine's own ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineRun {
    Athena { id: String },
    GlueJob { job: String, id: String },
}

impl EngineRun {
    pub fn of(work: &Work, id: &str) -> EngineRun {
        match work {
            Work::Athena { .. } => EngineRun::Athena { id: id.into() },
            Work::GlueJob { name, .. } => EngineRun::GlueJob { job: name.clone(), id: id.into() },
        }
    }
}

/// A partition column: its values become folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    pub name: String,
    /// The column's Glue type; if the table already has this partition key, its type takes precedence. `None` infers
    /// the type from the values.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub glue_type: Option<String>,
}

/// The Glue job argument that names the location to write to. No two runs share a location, so the argument also
/// identifies the run.
pub const JOB_LOCATION: &str = "--turntable_location";

/// The record of the table that is published in a folder, `_table.json`. Turntable writes it when it adopts or creates
/// the table, and sweep keeps it correct. It distinguishes a renamed table from a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedTable {
    pub database: String,
    pub table: String,
    pub dataset: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The stack that publishes the table; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The renames within the folder, which happen if only the dataset's database changes, the latest request last. Each
    /// is recorded before the new table is created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<Renamed>,
    /// The folders in which the table was published before the dataset's location changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved_from: Vec<Location>,
}

impl PublishedTable {
    pub fn name(&self) -> TableName {
        TableName { database: self.database.clone(), table: self.table.clone() }
    }

    /// Returns whether an operator has requested this rename last, and it may be unfinished: `from` has not been dropped.
    pub fn is_renaming(&self, from: &TableName, to: &TableName) -> bool {
        let is_this =
            |last: &Renamed| last.from == from.to_string() && last.to == to.to_string() && last.dropped.is_none();
        self.renamed.last().is_some_and(is_this)
    }
}

/// What to do with a table that Turntable no longer publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldTable {
    /// The table stays as it is, with its files.
    Keep,
    /// The table is dropped, and sweep deletes its files after `drain`.
    Drop,
}

/// A rename of a table: its old and new names, what happened to the old table, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// The old name, `DATABASE.TABLE`. As long as a table with this name exists, it may read from the folder.
    pub from: String,
    pub to: String,
    pub at: Timestamp,
    pub why: String,
    pub old_table: OldTable,
    /// When the old table was dropped, and its location until then. `None` if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Dropped>,
}

/// When a table was dropped, and its location until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub at: Timestamp,
    pub location: Location,
}

/// The record of an audit that rejected a candidate, `_verdicts/COLOUR-ULID.json`. A later audit overwrites it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub at: Timestamp,
    /// Why the candidate was rejected. Never empty.
    pub reasons: Vec<String>,
}

/// The record of a dataset's last failed export, `_export_failed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportFailure {
    pub at: Timestamp,
    /// The time of the first failure since the last complete generation. `None` if this is the first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When the export is retried. `None` if it isn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// The name of the error's [`crate::error::Kind`].
    pub error: String,
    pub reason: String,
}

/// The record of a failed engine run, `_pending/COLOUR-ULID.failed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub at: Timestamp,
    /// The name of the error's [`crate::error::Kind`].
    pub error: String,
    pub reason: String,
}

/// Serialises a ULID as a string, and deserialises it.
pub(crate) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub fn serialize<S: Serializer>(ulid: &Ulid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(ulid)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ulid, D::Error> {
        Ulid::from_string(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Parses a record's JSON. Fails with `Corrupt` if it is invalid; the error names `at`, the record's key.
pub fn from_json<T: serde::de::DeserializeOwned>(at: &Key, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|fault| {
        Error::corrupt(format!(
            "{at} is not a record that Turntable wrote: inspect it, then move it out of this folder"
        ))
        .caused_by(fault)
    })
}

#[expect(clippy::expect_used, reason = "JSON fails only for keys that are not strings")]
pub fn to_json<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(record).expect("a record has only string keys")
}

/// Returns a ULID that is later than all of `earlier`, even if clocks disagree. It is `fresh` if that is later, or else
/// a ULID one millisecond after the last of `earlier`. If `earlier` contains the greatest ULID, which only a forged
/// record has, returns that one again instead of wrapping around to the smallest.
pub fn later(fresh: Ulid, earlier: impl IntoIterator<Item = Ulid>) -> Ulid {
    match earlier.into_iter().max() {
        Some(last) if fresh > last => fresh,
        None => fresh,
        Some(last) => {
            let next = Ulid::from_parts(last.timestamp_ms() + 1, fresh.random());
            if next > last { next } else { Ulid(last.0.saturating_add(1)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ulid_sorts_after_all_earlier_ones() {
        let (greatest, last_time) = (Ulid(u128::MAX), Ulid::from_parts(u64::MAX, 7));
        assert_eq!((later(Ulid::from_parts(7, 1), [greatest]), later(greatest, [greatest])), (greatest, greatest));
        assert!(later(Ulid::from_parts(7, 1), [last_time]) > last_time);
        let (old, new) = (Ulid::from_parts(5, 9), Ulid::from_parts(7, 1));
        assert_eq!(later(new, [old]), new);
        assert!(later(old, [new]) > new);
        assert_eq!(later(old, []), old);
    }
}

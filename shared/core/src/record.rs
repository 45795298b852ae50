//! The records of flips, holds and engines' runs: small JSON objects beside the manifests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    error::{Error, Result},
    layout::{Generation, Key, Location},
};

/// The record of one flip. Its key contains its ULID, and the records in the order of their ULIDs are the table's
/// history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    pub dataset: String,
    pub at: Timestamp,
    /// The location that was live before; `None` if there was no table or if it is no longer known.
    pub from: Option<Location>,
    pub to: Generation,
    pub by: FlipOrigin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `None` if the dataset had no canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// The state of a flip's canary. The record of the flip back shows a canary that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// The query has not run yet, or it got no answer. The next process that finds the generation live runs it.
    Pending,
    Passed,
}

/// The origin of a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlipOrigin {
    /// The event of a manifest.
    Event,
    /// An operator's request.
    Operator,
    /// An operator's rollback.
    Rollback,
    /// A flip back because the canary failed.
    Canary,
    /// A flip back because somebody outside Turntable had moved the table.
    Repair,
    /// A flip back of a group because one of its members could not flip.
    Group,
    /// The flip died before it wrote its record. The next process that found its generation live wrote this one.
    Recovered,
}

/// The intent to make a generation live that was live before. It is written before the table is touched.
///
/// The table's Location alone can't tell such a flip from drift. The intent can, even if the flip record is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevertIntent {
    /// The ULID of the flip record.
    #[serde(with = "text")]
    pub flip: Ulid,
    pub to: Generation,
    pub by: FlipOrigin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An operator's order that a dataset must not flip until the hold is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub at: Timestamp,
    pub reason: String,
    /// A released hold stays in S3 and stops nothing, because only sweep may delete objects.
    #[serde(default)]
    pub released: bool,
}

/// The mark that sweep is deleting a generation. Sweep writes it before it deletes any of the generation's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweeping {
    pub at: Timestamp,
}

/// The record of an engine's run. It is written before the engine is called, so that a retry finds the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    /// The location that was live when the run began.
    pub base: Option<Location>,
    /// A time before the engine was called: the engine reads the data as of then or later.
    pub as_of: Timestamp,
    /// The [`crate::config::Dataset::spec`] that the generation is built from.
    pub spec: String,
    pub work: Work,
    /// The columns that become folders, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<Folder>,
    /// The time by which the engine has ended the run, with any result.
    pub until: Timestamp,
    /// The engine's ID of the run; `None` while its start is not confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// The complete input of an engine, so that a retry can send the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    Athena {
        workgroup: String,
        database: String,
        /// The whole `UNLOAD`.
        sql: String,
    },
    GlueJob {
        name: String,
        arguments: BTreeMap<String, String>,
        /// In minutes.
        timeout: u32,
    },
}

/// Identifies a run by its engine's own ID.
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
    /// `None`: the type is taken from the table, or else from the values.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub glue_type: Option<String>,
}

/// The job argument with the location to write to. It identifies the run.
pub const JOB_LOCATION: &str = "--turntable_location";

/// The record that an engine's run has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub at: Timestamp,
    /// The name of the [`crate::error::Kind`].
    pub error: String,
    pub reason: String,
}

/// Serialises a ULID as a string.
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

/// Parses the JSON of the record at a key. The key is used only in the error.
pub fn from_json<T: serde::de::DeserializeOwned>(at: &Key, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|fault| {
        Error::corrupt(format!("{at} was not written by Turntable: inspect it, then move it away")).caused_by(fault)
    })
}

pub fn to_json<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(record).expect("a record has only string keys")
}

/// Returns a ULID that is later than all of `earlier`, even if clocks disagree: `fresh` itself if that is later.
pub fn later(fresh: Ulid, earlier: impl IntoIterator<Item = Ulid>) -> Ulid {
    match earlier.into_iter().max() {
        Some(last) if fresh <= last => Ulid::from_parts(last.timestamp_ms() + 1, fresh.random()),
        _ => fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ulid_sorts_after_all_earlier_ones() {
        let (old, new) = (Ulid::from_parts(5, 9), Ulid::from_parts(7, 1));
        assert_eq!(later(new, [old]), new);
        assert!(later(old, [new]) > new);
        assert_eq!(later(old, []), old);
    }
}

//! What stays of a flip, of a hold and of an engine's run: small JSON objects beside the manifests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    error::{Error, Result},
    layout::{Generation, Key, Location},
};

/// One flip. Its key carries its ULID; records in the order of their ULIDs are the table's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    pub dataset: String,
    pub at: Timestamp,
    /// What was live before; `None` where there was no table, or where it is not known any more.
    pub from: Option<Location>,
    pub to: Generation,
    pub by: By,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `None` where the dataset had no canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// How far the canary of a flip has come. One that failed shows in the record of the flip back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// Not asked yet, or nobody answered: whoever finds the generation live asks.
    Pending,
    Passed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A manifest's event.
    Event,
    /// A request by hand.
    Operator,
    /// An operator's way back.
    Rollback,
    /// The way back from a flip whose canary failed.
    Canary,
    /// The way back after somebody else had moved the table.
    Repair,
    /// The way back of a group of which one member could not flip.
    Group,
    /// Written later, by whoever found a live generation without a record: its flip died before it wrote one.
    Recovered,
}

/// A flip to what has been live before, of which Location alone would not tell whether it is ours: put on record before
/// the table is touched, so that nobody takes it for somebody else's doing should its flip record be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Of the flip record.
    #[serde(with = "text")]
    pub flip: Ulid,
    pub to: Generation,
    pub by: By,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An operator's word that a dataset must not flip until released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub at: Timestamp,
    pub reason: String,
    /// A released hold stays as an object that holds nothing: only sweep may delete.
    #[serde(default)]
    pub released: bool,
}

/// Sweep's word that it is deleting a generation, written before anything of it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweeping {
    pub at: Timestamp,
}

/// What an engine was told to build, put on record before it is told, so that whoever tries again finds the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    /// What was live when the run began.
    pub base: Option<Location>,
    /// Before the engine was told: what it reads is of then or later.
    pub as_of: Timestamp,
    /// [`crate::config::Dataset::spec`] of the entry that it is built from.
    pub spec: String,
    pub work: Work,
    /// The columns that become folders, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<Folder>,
    /// By then the engine has ended the run, whatever becomes of it.
    pub until: Timestamp,
    /// The engine's own name of the run; `None`: nobody has heard of its start yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// All that an engine is told, so that it can be told the same again.
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
        /// Minutes.
        timeout: u32,
    },
}

/// A run by its name, which is its engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    Athena { id: String },
    GlueJob { job: String, id: String },
}

impl Run {
    pub fn of(work: &Work, id: &str) -> Run {
        match work {
            Work::Athena { .. } => Run::Athena { id: id.into() },
            Work::GlueJob { name, .. } => Run::GlueJob { job: name.clone(), id: id.into() },
        }
    }
}

/// A column that becomes a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    pub name: String,
    /// `None`: the table has it, or else the values tell.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub glue_type: Option<String>,
}

/// The job argument that names the location to write to, and with it the run.
pub const JOB_LOCATION: &str = "--turntable_location";

/// The word that an engine's run has come to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub at: Timestamp,
    /// [`crate::error::Kind`].
    pub error: String,
    pub reason: String,
}

/// A ULID in JSON.
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

/// Reads the JSON that was found at a key.
pub fn from_json<T: serde::de::DeserializeOwned>(at: &Key, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|fault| {
        Error::corrupt(format!("{at} was not written by turntable: look at it, then move it away")).caused_by(fault)
    })
}

pub fn to_json<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(record).expect("a record has only string keys")
}

/// A ULID that is later than all of `earlier`, even where clocks disagree.
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
    fn a_flip_sorts_after_all_that_it_has_seen() {
        let (old, new) = (Ulid::from_parts(5, 9), Ulid::from_parts(7, 1));
        assert_eq!(later(new, [old]), new);
        assert!(later(old, [new]) > new);
        assert_eq!(later(old, []), old);
    }
}

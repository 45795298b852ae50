//! The record of what an operator decided about a table that is no longer configured, or about the folder that a moved
//! table has left.
//!
//! The record is stored outside the table's folder, as `_retired/FOLDER.json` in the same bucket, so that one listing
//! finds all records. It stays after the folder's files are deleted, so that a repeated request can be answered.
//!
//! # Why a returning dataset never reads what sweep deletes
//!
//! Each change to the record succeeds only on the ETag that was read. Before sweep deletes a dropped table's files, it
//! claims the record ([`Retired::deleting`]). Before a flip audits a candidate for a folder whose table is missing, it
//! releases the record ([`Retired::released`]). Whichever comes first wins: a released record can't be claimed, and a
//! flip that finds a claim fails and is retried. Sweep deletes only generations that were started before the request,
//! so it never touches what a returning dataset builds.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    layout::{Key, Location, TableName},
    record::{FlipOrigin, OldTable},
};

/// The content of `_retired/FOLDER.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    pub database: String,
    pub table: String,
    /// The dataset that published the table.
    pub dataset: String,
    /// The table's folder.
    pub location: Location,
    pub at: Timestamp,
    pub by: FlipOrigin,
    pub why: String,
    /// See [`crate::record::Flip::request_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    pub old_table: OldTable,
    /// The table that the dataset now publishes instead. `None` if the table wasn't renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<String>,
    /// The folder in which the table is published instead. `None` if the table wasn't moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<Location>,
    /// When a sweep first found that no table reads from the folder any more. `None` while one may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Timestamp>,
    /// When a sweep claimed the record to delete files. `None` without a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Timestamp>,
    /// When all files had been deleted. `None` until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
    /// Whether a dataset publishes to the folder again, so that the record no longer counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

const FOLDER: &str = "_retired";

/// The age at which a claim no longer counts. No sweep runs this long, so an older claim is from a sweep that died.
const MAX_SWEEP_DURATION: SignedDuration = SignedDuration::from_hours(1);

/// Returns the folder that holds a bucket's records.
pub fn folder(bucket: &str) -> Location {
    Location { bucket: bucket.into(), prefix: format!("{FOLDER}/") }
}

/// Returns the key of the record for a table's folder.
pub fn key(home: &Location) -> Key {
    folder(&home.bucket).key(&format!("{}.json", home.prefix.trim_end_matches('/')))
}

impl Retired {
    pub fn name(&self) -> TableName {
        TableName { database: self.database.clone(), table: self.table.clone() }
    }

    /// Returns whether `named` is this table's dataset, or this table as `DATABASE.TABLE`.
    pub fn is_named(&self, named: &str) -> bool {
        self.dataset == named || self.name().to_string() == named
    }

    /// Returns whether a sweep may be deleting files now.
    pub fn is_claimed(&self, now: Timestamp) -> bool {
        self.deleting.is_some_and(|at| now.duration_since(at) < MAX_SWEEP_DURATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_has_a_record_of_its_own() {
        let home: Location = "s3://lake/schemas/users".parse().unwrap();
        assert_eq!(key(&home).to_string(), "s3://lake/_retired/schemas/users.json");
        assert_ne!(key(&home), key(&"s3://lake/schemas/users2".parse().unwrap()));
    }
}

//! The record of a table that was published once and is configured no longer: what an operator decided about it.
//!
//! The record lies outside the table's folder, as `_retired/FOLDER.json` of the same bucket, so that one listing finds
//! all of them. It stays when the folder's files are deleted, as the answer to a repeated request.
//!
//! # Why no returning dataset reads what sweep deletes
//!
//! Each change of the record succeeds only on the ETag that was read. Before sweep deletes files of a dropped table, it
//! claims the record ([`Retired::deleting`]). Before a flip audits a candidate for a folder whose table is missing, it
//! releases the record ([`Retired::released`]). Whichever comes first wins: a released record can't be claimed, and a
//! flip that finds a claim fails and is retried. Sweep deletes only generations that began before the request, so it
//! never touches what a returning dataset builds.

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
    pub old_table: OldTable,
    /// The table that the dataset publishes instead, if it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<String>,
    /// Since when no table reads from the folder, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Timestamp>,
    /// When a sweep began to delete files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Timestamp>,
    /// When the last file had been deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
    /// Whether a dataset publishes to the folder again, so that the record no longer counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

const FOLDER: &str = "_retired";

/// No sweep runs as long as this, so an older claim is left over from a sweep that died.
const MAX_SWEEP_DURATION: SignedDuration = SignedDuration::from_hours(1);

/// Returns the folder of all records in a bucket.
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

    /// Returns whether a request named this table: by its dataset, or as `DATABASE.TABLE`.
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

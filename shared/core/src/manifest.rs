//! The manifest: the contents of a complete generation. It is written last, create-if-absent. Without a manifest there
//! is no generation.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::{
    consent::normalize::Normalize,
    error::{Error, Result},
    layout::{Generation, Key, Location},
    partition::Partition,
    read::Read,
    schema::Column,
};

/// The manifest format version that this version of Turntable writes and reads.
pub const VERSION: u32 = 1;

/// How far a source's clock may be ahead of Turntable's own: 5 minutes.
pub const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Returns whether `as_of`, the time of a snapshot that existed at `now`, is more than [`MAX_CLOCK_SKEW`] later than
/// `now`. If so, the source's clock is ahead.
pub fn is_ahead(as_of: Timestamp, now: Timestamp) -> bool {
    as_of.duration_since(now) > MAX_CLOCK_SKEW
}

/// The contents of `_manifests/COLOUR-ULID.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    /// The location that was live when the run started, managed or not; `None` if there was no table.
    pub base: Option<Location>,
    /// When the source's snapshot was taken.
    pub as_of: Timestamp,
    pub created_at: Timestamp,
    /// The [`crate::config::Dataset::spec`] that the generation was built from.
    pub spec: String,
    pub typed_by: TypedBy,
    /// The columns in the files, without the partition columns.
    pub columns: Vec<Column>,
    /// The partition columns, outermost first. Their values are folder names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Partition>,
    pub rows: u64,
    pub bytes: u64,
    pub files: Vec<File>,
    /// For each column, how many values became NULL because the column's type can't represent them. Empty unless
    /// `on_unrepresentable = "null"` is set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulled: BTreeMap<String, u64>,
    /// For each column, how many rows have NULL in it because their file lacks the column. Empty unless `missing =
    /// "null"` is set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, u64>,
    /// For each name that is not declared as a column, how many values were left out. Empty unless `extra = "ignore"`
    /// is set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ignored: BTreeMap<String, u64>,
    /// Set only if the generation is a merge of opt-outs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
    /// Set only if the generation was exported with a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupRun>,
    /// The inputs' generations that were live before the source was read, by dataset. Set only with
    /// `refresh = { after = … }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Generation>,
    /// The source's objects that the export read. Set only with `refresh = { on_put = true }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Read>,
}

/// Everything about a generation that is fixed before its files are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    /// See [`Manifest::base`].
    pub base: Option<Location>,
    pub as_of: Timestamp,
    /// See [`Manifest::spec`].
    pub spec: String,
    /// See [`Manifest::inputs`].
    pub inputs: BTreeMap<String, Generation>,
}

/// Everything about a generation that is known once its files are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    pub typed_by: TypedBy,
    /// See [`Manifest::columns`].
    pub columns: Vec<Column>,
    pub partitions: Vec<Partition>,
    pub files: Vec<File>,
    pub nulled: BTreeMap<String, u64>,
    pub missing: BTreeMap<String, u64>,
    pub ignored: BTreeMap<String, u64>,
}

/// One export of a group: generations from one snapshot that flip together. The manifests are written in the order of
/// the members' names, so the run is complete when the last one exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRun {
    pub group: String,
    #[serde(with = "crate::record::text")]
    pub run: Ulid,
    /// The members' generations, by dataset.
    pub members: BTreeMap<String, Generation>,
}

impl GroupRun {
    /// Returns the member whose manifest is written last.
    pub fn last(&self) -> Option<&str> {
        self.members.keys().next_back().map(String::as_str)
    }
}

/// What a merge consumed, and the number of buckets that it wrote. [`Manifest::base`] is the location that it was
/// merged from; the merge flips only while that location is live.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The number of buckets, a power of two. Bucket 12 is `part-00012.parquet`. A bucket without rows has no file,
    /// except bucket 0.
    pub buckets: u32,
    /// The drops that the generation includes and that were still in the inbox when it was built. They are grouped by
    /// the generation that consumed them first.
    pub consumed: Vec<Consumed>,
    /// The generations of other tables whose rows were merged into this generation or an earlier one, because the same
    /// inbox published them: see [`crate::optout::published`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<Location>,
    /// How the key's strings are normalized, in the order in which the steps are applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub normalize: Vec<Normalize>,
}

/// The drops that one generation was the first to consume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    pub by: Generation,
    pub drops: Vec<InboxObject>,
}

/// One version of an object in the inbox. Its JSON is `["KEY", "ETAG"]`, to keep manifests small: one may list 100,000
/// objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(String, String)", into = "(String, String)")]
pub struct InboxObject {
    /// The key, relative to the inbox's location.
    pub key: String,
    pub etag: String,
}

impl InboxObject {
    /// Returns the SHA-256 of the key in hex. It replaces the key in paths that would be longer than S3 allows.
    pub fn hashed(&self) -> String {
        Sha256::digest(&self.key).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<(String, String)> for InboxObject {
    fn from((key, etag): (String, String)) -> InboxObject {
        InboxObject { key, etag }
    }
}

impl From<InboxObject> for (String, String) {
    fn from(drop: InboxObject) -> (String, String) {
        (drop.key, drop.etag)
    }
}

/// Where the column types come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypedBy {
    /// The source itself: a database, Parquet files, or files that an engine wrote.
    Source,
    /// `columns` in datasets.toml.
    Declared,
    /// The first records of the source's first objects, from which the types were inferred.
    Inferred,
}

/// One data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The key, relative to the generation's location.
    pub key: String,
    pub bytes: u64,
    pub rows: u64,
    /// The ETag, without quotes.
    pub etag: String,
}

impl File {
    /// Returns whether an object is this file, unchanged since it was written. `key` is relative to the generation's
    /// location.
    pub fn is(&self, key: &str, bytes: u64, etag: &str) -> bool {
        self.key == key && self.bytes == bytes && self.etag == etag
    }
}

impl Manifest {
    /// Returns a manifest without `merge`, `group` and `read`. Every manifest is made by this function; callers then set these
    /// fields.
    pub fn new(identity: Identity, contents: Contents, created_at: Timestamp) -> Manifest {
        let Identity { dataset, generation, location, base, as_of, spec, inputs } = identity;
        let Contents { typed_by, columns, partitions, files, nulled, missing, ignored } = contents;
        Manifest {
            version: VERSION,
            dataset,
            generation,
            location,
            base,
            as_of,
            created_at,
            spec,
            typed_by,
            columns,
            partitions,
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            nulled,
            missing,
            ignored,
            merge: None,
            group: None,
            inputs,
            read: None,
        }
    }

    /// Returns the latest time at which the snapshot can have been taken: `as_of`, or `created_at` if the source's
    /// clock was ahead. Without this, such a generation would be fresher than everything after it.
    pub fn snapshot_at(&self) -> Timestamp {
        if is_ahead(self.as_of, self.created_at) { self.created_at } else { self.as_of }
    }

    /// Returns the names of all columns, in the order in which a query returns them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let partitions = self.partitions.iter().map(|partition| &partition.column);
        self.columns.iter().chain(partitions).map(|column| column.name.as_str())
    }

    #[expect(clippy::expect_used, reason = "JSON fails only for keys that are not strings")]
    pub fn to_json(&self) -> Vec<u8> {
        let json = if self.merge.is_some() { serde_json::to_vec(self) } else { serde_json::to_vec_pretty(self) };
        json.expect("a manifest has only string keys")
    }

    /// Parses the manifest at a key, and checks that it describes `generation`. Fails with `Corrupt` if it doesn't, or
    /// if the JSON is invalid or has another format version.
    pub fn from_json(at: &Key, generation: &Generation, json: &[u8]) -> Result<Manifest> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let corrupt = |fault: serde_json::Error| {
            Error::corrupt(format!("{at} is not a valid manifest: leave it for inspection and invoke export again"))
                .caused_by(fault)
        };
        let Versioned { version } = serde_json::from_slice(json).map_err(corrupt)?;
        if version != VERSION {
            return Err(Error::corrupt(format!(
                "{at} has format version {version}, but this version of Turntable reads only {VERSION}: deploy a newer \
                 version"
            )));
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(corrupt)?;
        if manifest.generation != *generation {
            return Err(Error::corrupt(format!(
                "{at} describes another generation, {}, so Turntable did not write it: leave it for inspection and \
                 invoke export again",
                manifest.generation
            )));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest from the first release. It must stay readable, because its generation may be live when a later
    /// release is deployed.
    const FIRST: &str = r#"{
        "version": 1, "dataset": "users", "generation": "green-01JD675EJRSSKNZWWST95906C6",
        "location": "s3://lake/schemas/users/green-01JD675EJRSSKNZWWST95906C6", "base": "s3://lake/schemas/users/blue",
        "as_of": "2026-04-02T02:00:00Z", "created_at": "2026-04-02T02:00:09Z", "spec": "9f2c", "typed_by": "source",
        "columns": [{ "name": "id", "type": "bigint" }], "rows": 2, "bytes": 512,
        "files": [{ "key": "part-00000.parquet", "bytes": 512, "rows": 2, "etag": "e" }]
    }"#;

    fn read(json: &str) -> Result<Manifest> {
        let generation = "green-01JD675EJRSSKNZWWST95906C6".parse().unwrap();
        let at = "s3://lake/schemas/users/_manifests/green-01JD675EJRSSKNZWWST95906C6.json".parse().unwrap();
        Manifest::from_json(&at, &generation, json.as_bytes())
    }

    #[test]
    fn manifests_of_older_and_newer_code_are_read_and_other_versions_are_refused() {
        let first = read(FIRST).unwrap();
        assert_eq!((first.rows, first.partitions.len(), first.merge.is_none()), (2, 0, true));
        assert_eq!(read(std::str::from_utf8(&first.to_json()).unwrap()).unwrap(), first);
        assert_eq!(read(&FIRST.replacen('{', "{ \"of_a_later_release\": [1],", 1)).unwrap(), first);
        let refused = read(&FIRST.replace("\"version\": 1", "\"version\": 2")).unwrap_err();
        assert!(
            refused
                .message()
                .ends_with("has format version 2, but this version of Turntable reads only 1: deploy a newer version")
        );
        let other = read(&FIRST.replace("\"generation\": \"green-01JD", "\"generation\": \"green-01JE")).unwrap_err();
        assert!(other.message().contains("Turntable did not write it"), "{}", other.message());
    }
}

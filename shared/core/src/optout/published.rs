//! The record of what an inbox has published. It lies beside the inbox, as `_published.json`, so that it outlives the
//! names in `datasets.toml`.
//!
//! An opt-out is either in the inbox or in the archive. A refresh of a table that lacks a drop reads the drop as long
//! as it is in the inbox, but can't read archived drops, which expire. So before `sweep` archives any drop, it records
//! the live generation, which contains all of them. A refresh of a table that doesn't [cover](Published::is_covered)
//! the record merges the recorded generation first. This happens after the dataset, its table or its location was
//! renamed, after an older `datasets.toml` was restored, and if two stacks publish the same inbox.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    layout::{Key, Location, TablePaths},
    manifest::Manifest,
};

/// The content of `_published.json` in an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The dataset and the table that published the generation.
    pub dataset: String,
    pub table: String,
    /// The location of a generation that contains every drop that was ever archived.
    pub location: Location,
    /// The number of rows in that generation.
    pub rows: u64,
    pub at: Timestamp,
}

const NAME: &str = "_published.json";

/// Returns the key of an inbox's record.
pub fn key(inbox: &Location) -> Key {
    inbox.key(NAME)
}

/// Returns the inbox whose record has this key, or `None` if this isn't a record's key.
pub fn parse_key(key: &Key) -> Option<Location> {
    let prefix = key.key.strip_suffix(NAME).filter(|prefix| prefix.ends_with('/'))?;
    Some(Location { bucket: key.bucket.clone(), prefix: prefix.into() })
}

impl Published {
    /// Returns whether the record was written for the table with these paths.
    pub fn is_of(&self, paths: &TablePaths) -> bool {
        paths.parse_generation(&self.location).is_some()
    }

    /// Returns whether a live generation of the table with these paths contains everything that the record's generation
    /// contains. `live` is its manifest; `None` if the table is missing, or if its live location is unmanaged.
    ///
    /// A generation of the record's own table contains it all if it isn't older than the record's generation, because
    /// each merge is made from the one before. Any other generation does if it has merged the record's generation, or
    /// is made from one that has.
    pub fn is_covered(&self, paths: &TablePaths, live: Option<&Manifest>) -> bool {
        let Some(live) = live else { return false };
        match paths.parse_generation(&self.location) {
            Some(recorded) => live.generation.ulid >= recorded.ulid,
            None => live.merge.as_ref().is_some_and(|merge| merge.includes.contains(&self.location)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::fixture, manifest::Merge};

    #[test]
    fn generation_covers_records_of_its_table_and_of_what_it_has_merged() {
        let live = Manifest { merge: Some(Merge::default()), ..fixture::manifest() };
        let (paths, generation) = TablePaths::of_generation(&live.location).unwrap();
        let record = |location: Location| Published {
            dataset: "optouts".into(),
            table: "dmp.optouts".into(),
            location,
            rows: 1,
            at: Timestamp::UNIX_EPOCH,
        };
        let inbox: Location = "s3://lake/inbox/optouts".parse().unwrap();
        assert_eq!(parse_key(&key(&inbox)), Some(inbox.clone()));
        assert_eq!(parse_key(&inbox.key("not_published.json")), None);
        let own = record(live.location.clone());
        assert!(own.is_of(&paths) && own.is_covered(&paths, Some(&live)));
        assert!(!own.is_covered(&paths, None));
        let later = crate::layout::Generation { ulid: ulid::Ulid::from_parts(u64::MAX >> 16, 0), ..generation };
        assert!(!record(paths.generation(&later)).is_covered(&paths, Some(&live)), "live was set back");

        let foreign: Location = format!("s3://other/table/{generation}").parse().unwrap();
        let record = record(foreign.clone());
        assert!(!record.is_of(&paths) && !record.is_covered(&paths, Some(&live)));
        let merge = Merge { includes: vec![foreign], ..Merge::default() };
        assert!(record.is_covered(&paths, Some(&Manifest { merge: Some(merge), ..live })));
    }
}

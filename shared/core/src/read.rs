//! Records which objects of a source an export has read, so that no object is missed and none leads to a second export.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::layout::Entry;

/// The largest number of objects that are listed one by one. More would make the manifest large, and every flip reads
/// the manifest.
pub const MAX_LISTED: usize = 1_000;

/// The objects that an export has read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The number of objects.
    pub objects: u64,
    /// The SHA-256, in hex, of their keys and ETags.
    pub digest: String,
    /// Their ETags, by key. Empty if there are more than [`MAX_LISTED`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub etags: BTreeMap<String, String>,
}

impl Read {
    /// Returns what an export of these objects has read.
    pub fn of(entries: &[Entry]) -> Read {
        let all: BTreeMap<&str, &str> =
            entries.iter().map(|entry| (entry.key.key.as_str(), entry.etag.as_str())).collect();
        let mut digest = Sha256::new();
        for (key, etag) in &all {
            // Neither contains a line feed: S3's ETags are hexadecimal, and a key's is escaped.
            digest.update(format!("{key:?} {etag:?}\n"));
        }
        let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let owned = |(key, etag): (&&str, &&str)| ((*key).to_owned(), (*etag).to_owned());
        let etags = if all.len() > MAX_LISTED { BTreeMap::new() } else { all.iter().map(owned).collect() };
        Read { objects: all.len() as u64, digest, etags }
    }

    /// Returns whether an object in the listing was put after the export read the source. A deleted object counts only
    /// if there were more than [`MAX_LISTED`] objects.
    pub fn lacks(&self, entries: &[Entry]) -> bool {
        if self.objects == self.etags.len() as u64 {
            return entries.iter().any(|entry| self.etags.get(&entry.key.key) != Some(&entry.etag));
        }
        Read::of(entries).digest != self.digest
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn entries(of: &[(&str, &str)]) -> Vec<Entry> {
        let entry = |(key, etag): &(&str, &str)| Entry {
            key: format!("s3://lake/in/{key}").parse().unwrap(),
            size: 1,
            etag: (*etag).into(),
            modified: Timestamp::UNIX_EPOCH,
        };
        of.iter().map(entry).collect()
    }

    #[test]
    fn puts_count_and_deletions_and_repetitions_do_not() {
        let read = Read::of(&entries(&[("a", "1"), ("b", "2")]));
        for (now, lacks) in [
            (&[("a", "1"), ("b", "2")][..], false),
            (&[("b", "2"), ("a", "1")], false),
            (&[("a", "1")], false),
            (&[], false),
            (&[("a", "1"), ("b", "3")], true),
            (&[("a", "1"), ("b", "2"), ("c", "1")], true),
        ] {
            assert_eq!(read.lacks(&entries(now)), lacks, "{now:?}");
        }
        assert!(!Read::of(&[]).lacks(&[]) && Read::of(&[]).lacks(&entries(&[("a", "1")])));
    }

    #[test]
    fn many_objects_have_only_a_digest() {
        let names: Vec<String> = (0..=MAX_LISTED).map(|number| number.to_string()).collect();
        let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let read = Read::of(&entries(&all));
        assert_eq!((read.objects, read.etags.len()), (1_001, 0));
        assert!(!read.lacks(&entries(&all)) && read.lacks(&entries(&all[1..])));
        assert_eq!(Read::of(&entries(&all[1..])).etags.len(), MAX_LISTED);
    }
}

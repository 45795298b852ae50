//! A drop's rejected records, each with its line and the reason, but never a value. They are written to `_rejected/` in
//! the inbox.

use serde::Serialize;

use turntable_core::{
    layout::{Key, Location, MAX_KEY_BYTES},
    manifest::InboxObject,
};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejects {
    /// The number of rejected records. In a range of lines, each line counts as one record. A drop that is rejected
    /// whole counts as one.
    pub count: u64,
    listed: Vec<Reject>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// The line in the decompressed text, or the row in a Parquet file, from 1. `None` if the whole drop is rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The last line, if the reject is a range of lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_line: Option<u64>,
    pub reason: String,
}

/// The maximum number of rejects in one drop that are listed with line and reason. Further rejects are only counted.
const MAX_LISTED: usize = 10_000;

impl Rejects {
    /// Adds a reject for one record.
    pub fn add_record(&mut self, line: u64, reason: impl Into<String>) {
        self.push(1, Reject { line: Some(line), last_line: None, reason: reason.into() });
    }

    /// Adds a reject for all lines from `first` to `last`, each of which may have been a record.
    pub fn add_lines(&mut self, first: u64, last: u64, reason: impl Into<String>) {
        let last_line = Some(last).filter(|last| *last > first);
        let count = last.saturating_sub(first) + 1;
        self.push(count, Reject { line: Some(first), last_line, reason: reason.into() });
    }

    /// Adds a reject for the whole drop.
    pub fn add_whole_drop(&mut self, reason: impl Into<String>) {
        self.push(1, Reject { line: None, last_line: None, reason: reason.into() });
    }

    fn push(&mut self, count: u64, reject: Reject) {
        self.count += count;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(reject);
        }
    }

    /// Returns the number of rejects that are listed with line and reason, at most 10,000.
    pub fn listed(&self) -> usize {
        self.listed.len()
    }

    /// Returns the body of the object in `_rejected/`, or `None` if nothing was rejected.
    #[expect(clippy::expect_used, reason = "JSON fails only for keys that are not strings")]
    pub fn to_json(&self, drop: &InboxObject) -> Option<Vec<u8>> {
        #[derive(Serialize)]
        struct File<'a> {
            drop: &'a str,
            etag: &'a str,
            rejected: u64,
            records: &'a [Reject],
        }
        let file = File { drop: &drop.key, etag: &drop.etag, rejected: self.count, records: &self.listed };
        (self.count > 0).then(|| serde_json::to_vec_pretty(&file).expect("a struct with string keys serializes"))
    }
}

/// Returns the key of the object for a drop's rejects. The key contains the drop's ETag, so reading a drop again
/// overwrites the same object, and an overwritten drop gets a new one. If the key would be too long, a hash replaces
/// the drop's name.
pub fn key(inbox: &Location, drop: &InboxObject) -> Key {
    let key = inbox.key(&format!("_rejected/{}-{}.json", drop.key, drop.etag));
    if key.key.len() <= MAX_KEY_BYTES {
        return key;
    }
    inbox.key(&format!("_rejected/{}-{}.json", drop.hashed(), drop.etag))
}

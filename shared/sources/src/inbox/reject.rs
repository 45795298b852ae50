//! What was not understood of a drop: line and reason, never the value. It stands in `_rejected/` in the inbox.

use serde::Serialize;

use turntable_core::{
    layout::{Key, LONGEST_KEY, Location},
    manifest::Drop,
};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejects {
    /// Records; a drop that was set aside whole counts as one.
    pub count: u64,
    listed: Vec<Reject>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// Of the decompressed text, or the row of a Parquet file, from 1; `None`: the drop as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    pub reason: String,
}

/// Rejects of one drop that are written down. All are counted.
const LISTED: usize = 10_000;

impl Rejects {
    pub fn line(&mut self, line: u64, reason: impl Into<String>) {
        self.push(Some(line), reason.into());
    }

    pub fn whole(&mut self, reason: impl Into<String>) {
        self.push(None, reason.into());
    }

    fn push(&mut self, line: Option<u64>, reason: String) {
        self.count += 1;
        if self.listed.len() < LISTED {
            self.listed.push(Reject { line, reason });
        }
    }

    /// How many are written down.
    pub fn listed(&self) -> usize {
        self.listed.len()
    }

    /// The object to write; `None` where nothing was rejected.
    pub fn to_json(&self, drop: &Drop) -> Option<Vec<u8>> {
        #[derive(Serialize)]
        struct File<'a> {
            drop: &'a str,
            etag: &'a str,
            rejected: u64,
            records: &'a [Reject],
        }
        let file = File { drop: &drop.key, etag: &drop.etag, rejected: self.count, records: &self.listed };
        (self.count > 0).then(|| serde_json::to_vec_pretty(&file).expect("only string keys"))
    }
}

/// Where the rejects of a drop go. The ETag is part of the name: the same drop always has the same object, and a drop
/// that is overwritten has another.
pub fn key(inbox: &Location, drop: &Drop) -> Key {
    let key = inbox.key(&format!("_rejected/{}-{}.json", drop.key, drop.etag));
    if key.key.len() <= LONGEST_KEY {
        return key;
    }
    inbox.key(&format!("_rejected/{}-{}.json", drop.hashed(), drop.etag))
}

//! The settings that all reads in one refresh share, and the result of a read.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    reject::Rejects,
    spill_buffer::{SpillBuffer, SpillFile},
};
use turntable_core::consent::{accepts::States, key::Key, normalize::Normalization};

/// The settings and the spill file for all reads in one refresh.
#[derive(Clone)]
pub struct Reader {
    pub key: Key,
    /// The states that records may have. Records with other states are rejected.
    pub states: States,
    /// How the key's strings are normalized.
    pub normalize: Normalization,
    pub now: Timestamp,
    /// The file for records that exceed the memory limits.
    pub spill: Arc<SpillFile>,
}

/// The size in memory, in bytes, at which one drop's records are spilled to the file.
const SPILL_DROP_BYTES: usize = 2 << 20;
/// The size in memory, in bytes, at which the records of all drops are spilled to the file.
const SPILL_TOTAL_BYTES: usize = 8 << 20;

impl Reader {
    /// Returns an empty spill buffer for the records of all drops.
    pub fn spill_buffer(&self) -> SpillBuffer {
        SpillBuffer::new(self.key.width(), &self.spill, SPILL_TOTAL_BYTES)
    }
}

/// The valid records and the rejects of one drop or table.
pub struct ParsedDrop {
    pub records: SpillBuffer,
    pub rejects: Rejects,
    /// Whether a valid record has the state that opts a person in again.
    pub opts_in: bool,
}

impl ParsedDrop {
    pub fn new(reader: &Reader) -> ParsedDrop {
        ParsedDrop {
            records: SpillBuffer::new(reader.key.width(), &reader.spill, SPILL_DROP_BYTES),
            rejects: Rejects::default(),
            opts_in: false,
        }
    }
}

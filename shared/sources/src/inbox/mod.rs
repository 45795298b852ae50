//! Reads drops, the objects that applications put into an opt-out inbox, into consent records and rejects.
//!
//! A drop is CSV with a header, NDJSON or Parquet (the first two also as .gz and .zst). It has the key's columns,
//! `state` and `occurred_at`; other columns are ignored. Invalid records are rejected; valid ones still count.

mod pages;
pub mod parquet;
mod record;
pub mod reject;
mod rows;
pub mod spill_buffer;
pub mod text;

mod read;
mod table;

use std::sync::Arc;

use jiff::Timestamp;

use crate::inbox::spill_buffer::{SpillBuffer, SpillFile};
pub use read::{ENOUGH, Read, list, read};
pub use reject::Rejects;
pub use table::records;
use turntable_core::consent::key::Key;

/// Settings and spill file for all reads of one refresh.
#[derive(Clone)]
pub struct Reader {
    pub key: Key,
    pub now: Timestamp,
    /// The temporary file for records that exceed the memory limits.
    pub spill: Arc<SpillFile>,
}

/// Bytes of one drop's records in memory that cause a spill to the file.
const SPILL_DROP_BYTES: usize = 2 << 20;
/// Bytes of all drops' records in memory that cause a spill to the file.
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
}

impl ParsedDrop {
    pub fn new(reader: &Reader) -> ParsedDrop {
        ParsedDrop {
            records: SpillBuffer::new(reader.key.width(), &reader.spill, SPILL_DROP_BYTES),
            rejects: Rejects::default(),
        }
    }
}

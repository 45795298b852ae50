//! Drops: what applications put into an inbox → records, and what could not be understood.
//!
//! A drop is CSV with a header, NDJSON or Parquet (the first two also as .gz and .zst): the key's columns, `state` and
//! `occurred_at`; other columns are ignored. A bad record never stops the good ones.

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

use crate::inbox::spill_buffer::{Pile, Spill};
pub use read::{ENOUGH, Read, list, read};
pub use reject::Rejects;
pub use table::records;
use turntable_core::consent::key::Key;

/// What reading needs to know.
#[derive(Clone)]
pub struct Reader {
    pub key: Key,
    pub now: Timestamp,
    /// Where records go that are too many for the memory.
    pub spill: Arc<Spill>,
}

/// Bytes of one drop's records that are held in memory, and of all that were read.
const OF_ONE: usize = 2 << 20;
const OF_ALL: usize = 8 << 20;

impl Reader {
    /// An empty pile for all that is read.
    pub fn pile(&self) -> Pile {
        Pile::new(self.key.width(), &self.spill, OF_ALL)
    }
}

/// What one source has said.
pub struct Said {
    pub records: Pile,
    pub rejects: Rejects,
}

impl Said {
    pub fn new(reader: &Reader) -> Said {
        Said { records: Pile::new(reader.key.width(), &reader.spill, OF_ONE), rejects: Rejects::default() }
    }
}

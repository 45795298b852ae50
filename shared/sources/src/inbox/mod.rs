//! Reads drops, the objects that applications put into an opt-out inbox, into consent records and rejects.
//!
//! A drop is CSV with a header, NDJSON or Parquet; CSV and NDJSON may be compressed. It has the key's columns, `state`
//! and `occurred_at`; other columns are ignored. Invalid records are rejected; the valid ones in the same drop still
//! count.

pub mod control;
pub mod csv;
mod limits;
pub mod pages;
pub mod parquet;
mod reader;
mod record;
pub mod reject;
mod rows;
pub mod spill_buffer;
pub mod text;

mod read;
mod table;

pub use limits::{ENOUGH, Limits, Rules};
pub use read::{Listing, MAX_DROP_BYTES, Read, list, list_from, read};
pub use reader::{ParsedDrop, Reader};
pub use reject::Rejects;
pub use table::records;

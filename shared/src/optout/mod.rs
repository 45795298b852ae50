//! Opt-outs: many drops and the live table → the next table, one row per key.
//!
//! The table is kept in buckets, a file each, by a hash of the key; each file is sorted by key. A refresh reads and
//! rewrites the buckets that its records fall into and carries the others over by server-side copy, so that its cost
//! grows with the change and not with the table. What a record does to a table is decided by [`later`] and by nothing
//! else: the order in which drops arrive, and how often, makes no difference.

mod build;
mod draft;
mod file;
mod refresh;
pub mod views;

pub use file::columns;
pub use refresh::{Ask, Refreshed, Took, refresh};

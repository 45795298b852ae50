//! Merges opt-out drops into the live table. The result is the next generation, with one row per key.
//!
//! A hash of the key assigns each row to a bucket, and each bucket is one file, sorted by key. A refresh reads and
//! rewrites the buckets that its records belong to, and copies the others within S3. So the number of rows that it
//! processes depends on the changes, not on the size of the table. Only [`turntable_core::consent::later`] decides the
//! effect of a record, so it makes no difference in which order drops are read, or whether they are read twice.

mod answer;
mod build;
mod candidate;
mod environment;
mod file;
mod listing;
mod options;
mod pace;
mod refresh;
mod refreshed;
mod report;
mod requests;
pub(crate) mod returning;
mod verify;
mod views;

pub use answer::{Answer, OptedOut};
pub use environment::Optout;
pub use file::columns;
pub use options::RefreshOptions;
pub use refresh::refresh;
pub use refreshed::{Refreshed, Timings};
pub use requests::carry_out;
pub use turntable_core::optout::view;

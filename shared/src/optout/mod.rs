//! Merges opt-out drops into the live table. The result is the next generation, with one row per key.
//!
//! A hash of the key assigns each row to a bucket, and each bucket is one file, sorted by key. A refresh reads and
//! rewrites the buckets that its records fall into, and copies the others within S3. So the number of rows that it
//! processes grows with the changes, not with the table. [`turntable_core::consent::later`] alone decides the effect of
//! a record, so the order and repetition of drops make no difference.

mod answer;
mod build;
mod candidate;
mod environment;
mod file;
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

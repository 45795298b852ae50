//! Reads rows from databases, files in S3 and inboxes into Arrow batches.

mod background;
mod column_builder;
mod context;
pub mod files;
pub mod inbox;
pub mod mysql;
mod names;
mod open;
pub mod postgres;
mod ranges;
mod secret;
mod tls;
pub mod unmatched;
pub mod unrepresentable;
mod value_fault;

pub use context::{Context, Copies, Opened};
pub use open::{Snapshot, open, remarks, schema};

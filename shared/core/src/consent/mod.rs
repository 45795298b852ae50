//! Consent records: what an application says about one person, and which of two records counts.

pub mod bucket;
pub mod key;
mod record;
pub mod record_columns;

pub use record::{ConsentRecord, ConsentState, OCCURRED_AT, STATE, later};

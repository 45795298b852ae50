//! Consent records: what an application says about one person, and which of two records counts.

pub mod accepts;
pub mod bucket;
pub mod key;
pub mod normalize;
mod record;
pub mod record_columns;

pub use record::{ConsentRecord, ConsentState, OCCURRED_AT, STATE, later};

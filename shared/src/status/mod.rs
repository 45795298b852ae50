//! What an operator wants to know. Reads, and changes nothing.

mod dataset;
mod overview;

pub use dataset::{Status, status};
pub use overview::{DatasetSummary, Overview, overview};

//! Reports the status of datasets to operators. Changes nothing.

mod dataset;
mod inbox;
mod inboxes;
mod overview;

pub use dataset::{Status, status};
pub use overview::{DatasetSummary, Overview, overview};

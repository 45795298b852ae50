//! Reports the status of datasets to operators. Changes nothing.

mod condition;
mod dataset;
mod inbox;
mod inboxes;
mod matches;
mod overview;
mod refresh;
mod retired;
mod summary;

pub use condition::{Condition, Topic};
pub use dataset::{Status, status};
pub use overview::{Overview, overview};
pub use refresh::RefreshStatus;
pub use summary::{DatasetSummary, InboxSummary};

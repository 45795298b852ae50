//! The record of the drops that an inbox's `max_returning` holds back, `_returning.json` in the table's folder.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::manifest::InboxObject;

/// The drops that would bring back too many people. The record counts for those that are still unread, so it needs no
/// deletion once an operator has let them pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returning {
    pub at: Timestamp,
    /// The number of people whom the drops would bring back.
    pub people: u64,
    pub drops: Vec<InboxObject>,
}

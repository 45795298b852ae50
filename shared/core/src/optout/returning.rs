//! The record of the drops that an inbox's `max_returning` holds back, `_returning.json` in the table's folder.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::manifest::InboxObject;

/// The drops that would opt too many people back in. Only those that are still unread count, so the record need not be
/// deleted once an operator has let them pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returning {
    pub at: Timestamp,
    /// The number of people whom the drops would opt back in.
    pub people: u64,
    pub drops: Vec<InboxObject>,
}

//! The result of a refresh.

use std::time::Duration;

use jiff::SignedDuration;
use turntable_core::{
    config::{Dataset, Inbox},
    layout::Generation,
};

use super::returning::HeldDrops;
use crate::publish::Outcome;

/// The result of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    pub outcome: Outcome,
    /// The generation that is live at the end. `None` if live is unmanaged, or if there is no table.
    pub generation: Option<Generation>,
    /// The number of drops that this refresh consumed.
    pub drops: u64,
    /// The number of keys that are new or whose consent record changed.
    pub applied: u64,
    /// The number of rejected records.
    pub rejected: u64,
    /// The number of rows in the live table. 0 if unknown.
    pub rows: u64,
    /// The number of people who had opted out and are opted in now.
    pub returning: u64,
    /// The number of people whom held-back drops would opt back in. See `max_returning`.
    pub held_back: u64,
    pub reasons: Vec<String>,
    /// The number of unread drops that remain for the next round or refresh.
    pub left: u64,
    /// Whether the inbox has more objects than this refresh has listed, so that more drops may remain.
    pub unlisted: bool,
    /// The total size of the drops that this refresh has read, in bytes.
    pub bytes: u64,
    /// Whether this refresh has made the views outdated: it created the table, or the number of files or the key's
    /// columns changed.
    pub views_outdated: bool,
    /// The age of the oldest drop that was read, measured when the drops went live, or at the end if nothing went live.
    /// `None` if no drop was read.
    pub lag: Option<SignedDuration>,
    pub took: Timings,
}

impl Refreshed {
    /// Returns whether no drops remain for the next round or refresh.
    pub(super) fn is_all(&self) -> bool {
        self.left == 0 && !self.unlisted
    }

    /// Adds the drops that `max_returning` holds back.
    pub(super) fn with(self, dataset: &Dataset, inbox: &Inbox, held: &HeldDrops) -> Refreshed {
        if held.is_empty() {
            return self;
        }
        let mut reasons = self.reasons;
        reasons.push(held.message(&dataset.name, inbox.max_returning.unwrap_or_default()));
        let outcome = if self.outcome == Outcome::AlreadyLive { Outcome::Held } else { self.outcome };
        Refreshed { outcome, held_back: held.people, reasons, ..self }
    }
}

/// The durations of a refresh's steps, in its last attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Loading the table, live's manifest and the inbox's listing.
    pub load: Duration,
    /// Reading the unread drops.
    pub read: Duration,
    /// Reading, merging, writing and copying the buckets.
    pub merge: Duration,
    /// Writing the manifest, and the audit.
    pub audit: Duration,
    /// `UpdateTable` and the flip record.
    pub flip: Duration,
}

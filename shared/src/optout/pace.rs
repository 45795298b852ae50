//! Limits how much one refresh reads, so that it always gets to publish what it has read, however many drops there are
//! and however large they are.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use turntable_core::config::{Inbox, Quota};
use turntable_sources::inbox::{Limits, Rules};

use super::{listing::Enough, options::RefreshOptions, refreshed::Refreshed};
use crate::{clock::Clock, environment::Environment};

/// The start of a refresh, and the limits for all its rounds together.
pub(super) struct Pace {
    clock: Clock,
    began: Timestamp,
    time: Option<SignedDuration>,
    quota: Quota,
    /// The number and the total size of the drops that earlier rounds have read.
    drops: u64,
    bytes: u64,
    /// The number of people whom earlier rounds have opted back in.
    pub returned: u64,
}

impl Pace {
    pub fn new(env: &Environment, inbox: &Inbox, ask: &RefreshOptions) -> Pace {
        Pace {
            clock: env.clock.clone(),
            began: env.clock.now(),
            time: ask.time,
            quota: inbox.quota,
            drops: 0,
            bytes: 0,
            returned: 0,
        }
    }

    /// Returns the limits for the round that starts now. Reading gets a third of the time that is left, because merging
    /// and publishing also take time.
    pub fn limits(&self, inbox: &Inbox, ask: &RefreshOptions) -> Limits {
        let (clock, now) = (self.clock.clone(), self.clock.now());
        let until = self.time.map(|time| {
            let left = time.saturating_sub(now.duration_since(self.began));
            now.saturating_add(left / 3).unwrap_or(Timestamp::MAX)
        });
        Limits {
            records: ask.max_records,
            drops: self.drops_left(),
            bytes: self.quota.bytes.saturating_sub(self.bytes),
            is_late: Arc::new(move || until.is_some_and(|until| clock.now() >= until)),
            rules: Some(Rules { inbox: inbox.location.clone(), accepts: inbox.accepts.clone() }),
        }
    }

    /// Returns how much of the inbox the round that starts now must list.
    pub fn enough(&self) -> Enough {
        Enough { drops: self.drops_left() }
    }

    fn drops_left(&self) -> usize {
        self.quota.drops.saturating_sub(usize::try_from(self.drops).unwrap_or(usize::MAX)).max(1)
    }

    /// Updates the totals. `done` covers all rounds so far.
    pub fn add(&mut self, done: &Refreshed) {
        (self.drops, self.bytes, self.returned) = (done.drops, done.bytes, done.returning);
    }

    /// Returns whether the refresh leaves the remaining drops to the next one: the quota is used up, or another round
    /// might not finish in time.
    pub fn is_enough(&self, done: &Refreshed) -> bool {
        let used = done.drops >= self.quota.drops as u64 || done.bytes >= self.quota.bytes;
        let spent = self.clock.now().duration_since(self.began);
        used || self.time.is_some_and(|time| spent > time / 2)
    }
}

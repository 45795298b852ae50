//! The record that lets one run start for each due time, and at most one at a time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a run may take before it counts as dead: Lambda's limit of 15 minutes, and a minute for clocks that differ.
const LEASE: SignedDuration = SignedDuration::from_mins(16);

/// How long after a put settles its message counts as lost if it has not been handled: the interval between two
/// ticks.
const OVERDUE: SignedDuration = SignedDuration::from_mins(1);

/// The state of a dataset's refreshes, `_refresh.json`. A group has one record, in the folder of its first member.
///
/// Every change is conditional on the record that was read, so two invocations can't both start a run for one due time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The last due time for which a run has ended well, if any. No run starts for this time or an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The latest due time that came during a run, if any. Its own run starts afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Timestamp>,
    /// Whether an input flipped during a run. Whether another run must follow is decided afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting_for_inputs: bool,
    /// The last put into the source, if no run has begun since. One run serves all puts up to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<Timestamp>,
    /// The last put that a failed run was to serve, if any. The run's message is delivered again, and the next run
    /// serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_put: Option<Timestamp>,
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The due time that the run serves; `None` if it serves only flips of inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    pub since: Timestamp,
    /// If the run hasn't ended by this time, it counts as dead.
    pub until: Timestamp,
    /// The last put that the run serves, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put: Option<Timestamp>,
}

/// What follows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A run for this due time.
    Due(Timestamp),
    /// A run, if the inputs have flipped since the dataset was built.
    Inputs,
    /// After this time without another put, a run, if the source has objects that the dataset wasn't built from.
    Put(SignedDuration),
}

/// What to do about a due time, a flip of an input or a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Start a run, once this record is written.
    Run(Record),
    /// A run is in progress, and once this record is written, another follows it.
    After(Record),
    /// A run for this due time is in progress. Decide again after this time, when the run would count as dead.
    Wait(SignedDuration),
    /// The last put is more recent than `settle`. Decide again after this time.
    Settle(SignedDuration),
    /// A run for this or a later due time has ended.
    Done,
}

impl Record {
    /// Decides what to do about a due time.
    pub fn claim(&self, due: Timestamp, now: Timestamp) -> Claim {
        let is_done = |due| self.done.is_some_and(|done| done >= due);
        // What came during an earlier run that died is made up for by the same run.
        let latest = self.waiting.map_or(due, |waiting| waiting.max(due));
        match self.in_progress(now) {
            Some(_) if is_done(due) => Claim::Done,
            Some(running) if running.due >= Some(due) => Claim::Wait(running.until.duration_since(now)),
            Some(_) => Claim::After(Record { waiting: Some(latest), ..self.clone() }),
            None if is_done(latest) => Claim::Done,
            None => Claim::Run(self.started(Some(latest), now)),
        }
    }

    /// Decides what to do about a dataset whose inputs have flipped since it was built.
    pub fn claim_after_inputs(&self, now: Timestamp) -> Claim {
        match self.in_progress(now) {
            Some(_) => Claim::After(Record { waiting_for_inputs: true, ..self.clone() }),
            None => Claim::Run(self.started(self.waiting, now)),
        }
    }

    /// Decides what to do about a dataset whose source has objects that it wasn't built from.
    pub fn claim_after_puts(&self, settle: SignedDuration, now: Timestamp) -> Claim {
        match (self.in_progress(now), self.unsettled(settle, now)) {
            (Some(_), _) => Claim::After(Record { put: self.put.or(Some(now)), ..self.clone() }),
            (None, Some(left)) => Claim::Settle(left),
            (None, None) => Claim::Run(self.started(self.waiting, now)),
        }
    }

    /// Returns the record without waiting puts, once it is known that the dataset contains every put that was made
    /// before the record was read. `None` if no put waits or a run is in progress. If a run that served a put has died,
    /// that put waits too.
    pub fn without_puts(&self, now: Timestamp) -> Option<Record> {
        let died = self.running.as_ref().is_some_and(|dead| dead.put.is_some());
        let waits = self.put.is_some() || self.retried_put.is_some() || died;
        let running = || self.running.clone().map(|dead| Running { put: None, ..dead });
        let record = || Record { put: None, retried_put: None, running: running(), ..self.clone() };
        (waits && self.in_progress(now).is_none()).then(record)
    }

    /// Returns the record after a put at `now`, or `None` if it needs no change because the run that waits serves this
    /// put too. Of puts within a second, only the first counts for `settle`.
    pub fn with_put(&self, settle: SignedDuration, now: Timestamp) -> Option<Record> {
        let counts = match self.put {
            None => true,
            Some(last) => !settle.is_zero() && now.duration_since(last) >= SignedDuration::from_secs(1),
        };
        counts.then(|| Record { put: Some(now), ..self.clone() })
    }

    /// Returns the record as it stands once the retries of a run have been given up. `None` if it needs no change.
    pub fn given_up(&self) -> Option<Record> {
        self.retried_put.map(|_| Record { retried_put: None, ..self.clone() })
    }

    /// Returns whether a put has waited for so long after it settled that its message must have been lost.
    pub fn has_overdue_put(&self, settle: SignedDuration, now: Timestamp) -> bool {
        let settled = |put: Timestamp| now.duration_since(put) >= settle.saturating_add(OVERDUE);
        self.put.is_some_and(settled) && self.in_progress(now).is_none()
    }

    /// Returns how long it takes until the last put has settled; `None` if it has, or there is none.
    pub fn unsettled(&self, settle: SignedDuration, now: Timestamp) -> Option<SignedDuration> {
        let left = settle.checked_sub(now.duration_since(self.put?))?;
        left.is_positive().then_some(left)
    }

    /// Returns the run in progress. `None` if there is none, or if it counts as dead at `now`.
    pub fn in_progress(&self, now: Timestamp) -> Option<&Running> {
        self.running.as_ref().filter(|running| running.until > now)
    }

    /// Returns the record with a run that starts now. The run also serves everything that waited for it.
    fn started(&self, due: Option<Timestamp>, now: Timestamp) -> Record {
        let until = now.checked_add(LEASE).unwrap_or(Timestamp::MAX);
        let put = self.put.max(self.retried_put).max(self.running.as_ref().and_then(|dead| dead.put));
        let running = Some(Running { due, since: now, until, put });
        Record { done: self.done, running, ..Record::default() }
    }

    /// Returns the record as it stands once the run `of` has ended well. `None` if that run isn't the one in progress.
    pub fn ended(&self, of: &Running) -> Option<Record> {
        self.is_running(of).then(|| Record { done: self.done.max(of.due), running: None, ..self.clone() })
    }

    /// Returns the record as it stands once the run `of` has failed: a new run may then start for the same due time.
    /// `None` if that run isn't the one in progress.
    pub fn failed(&self, of: &Running) -> Option<Record> {
        let retried_put = self.retried_put.max(of.put);
        self.is_running(of).then(|| Record { running: None, retried_put, ..self.clone() })
    }

    /// Returns the record as it stands once the run `of` has found an earlier engine run and waits for its end. `None`
    /// if `of` isn't the run in progress.
    pub fn postponed(&self, of: &Running) -> Option<Record> {
        let waiting_for_inputs = self.waiting_for_inputs || of.due.is_none();
        let waiting = self.waiting.max(of.due);
        self.is_running(of).then(|| Record { running: None, waiting, waiting_for_inputs, ..self.clone() })
    }

    fn is_running(&self, of: &Running) -> bool {
        self.running.as_ref() == Some(of)
    }

    /// Returns what must start now, because it came during a run that has ended since. `None` if nothing must, or if a
    /// run is on record.
    pub fn follows(&self, settle: SignedDuration, now: Timestamp) -> Option<Next> {
        if self.running.is_some() {
            return None;
        }
        let due = self.waiting.filter(|waiting| self.done.is_none_or(|done| done < *waiting));
        let put = || self.put.map(|_| Next::Put(self.unsettled(settle, now).unwrap_or_default()));
        due.map(Next::Due).or(self.waiting_for_inputs.then_some(Next::Inputs)).or_else(put)
    }
}

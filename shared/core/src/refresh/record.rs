//! The record that lets one run start for each due time, and at most one at a time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a run may take before it counts as dead: Lambda's limit of 15 minutes, and a minute for clocks that differ.
const LEASE: SignedDuration = SignedDuration::from_mins(16);

/// The refreshes of a dataset by its schedules and inputs, `_refresh.json`. A group has one, in the folder of its first member.
///
/// Every change is conditional on the record that was read, so two invocations can't both start a run for one due time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The last due time for which a run has ended well. No run starts for this time or an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The latest due time that came during a run. Its own run starts afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Timestamp>,
    /// Whether an input flipped during a run. Whether another run must follow is decided afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting_for_inputs: bool,
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The due time that the run serves; `None` if it serves only flips of inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    pub since: Timestamp,
    /// When the run has died if it hasn't ended by then.
    pub until: Timestamp,
}

/// What follows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A run for this due time.
    Due(Timestamp),
    /// A run, if the inputs have flipped since the dataset was built.
    Inputs,
}

/// What to do about a due time or a flip of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Start a run, once this record is written.
    Run(Record),
    /// A run is in progress, and once this record is written, another follows it.
    After(Record),
    /// A run for this due time is in progress. Look again when it would have died.
    Wait(SignedDuration),
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

    /// Returns the run in progress.
    pub fn in_progress(&self, now: Timestamp) -> Option<&Running> {
        self.running.as_ref().filter(|running| running.until > now)
    }

    /// Returns the record once a run has started, which also serves all that waited for it.
    fn started(&self, due: Option<Timestamp>, now: Timestamp) -> Record {
        let until = now.checked_add(LEASE).unwrap_or(Timestamp::MAX);
        let running = Some(Running { due, since: now, until });
        Record { done: self.done, running, waiting: None, waiting_for_inputs: false }
    }

    /// Returns the record after the run `of` has ended well. `None` if that run isn't the one in progress.
    pub fn ended(&self, of: &Running) -> Option<Record> {
        self.is_running(of).then(|| Record { done: self.done.max(of.due), running: None, ..self.clone() })
    }

    /// Returns the record after the run `of` has failed, so that its due time can be run again. `None` if that run
    /// isn't the one in progress.
    pub fn failed(&self, of: &Running) -> Option<Record> {
        self.is_running(of).then(|| Record { running: None, ..self.clone() })
    }

    /// Returns the record after the run `of` found an earlier run of an engine, whose end it waits for. `None` if `of`
    /// isn't the run in progress.
    pub fn postponed(&self, of: &Running) -> Option<Record> {
        let waiting_for_inputs = self.waiting_for_inputs || of.due.is_none();
        let waiting = self.waiting.max(of.due);
        self.is_running(of).then_some(Record { done: self.done, running: None, waiting, waiting_for_inputs })
    }

    fn is_running(&self, of: &Running) -> bool {
        self.running.as_ref() == Some(of)
    }

    /// Returns what must start now, because it came during a run that has ended since.
    pub fn follows(&self) -> Option<Next> {
        if self.running.is_some() {
            return None;
        }
        let due = self.waiting.filter(|waiting| self.done.is_none_or(|done| done < *waiting));
        due.map(Next::Due).or(self.waiting_for_inputs.then_some(Next::Inputs))
    }
}

//! The record that lets one run start for each due time, and at most one at a time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a run may take before it counts as dead: Lambda's limit of 15 minutes, and a minute for clocks that differ.
const LEASE: SignedDuration = SignedDuration::from_mins(16);

/// The scheduled refreshes of a dataset, `_refresh.json`. A group has one, in the folder of its first member.
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
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub due: Timestamp,
    pub since: Timestamp,
    /// When the run has died if it hasn't ended by then.
    pub until: Timestamp,
}

/// What to do about a due time.
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
        // What came during an earlier run that died is made up for by the same run.
        let due = self.waiting.map_or(due, |waiting| waiting.max(due));
        if self.done.is_some_and(|done| done >= due) {
            return Claim::Done;
        }
        match self.running.as_ref().filter(|running| running.until > now) {
            Some(running) if running.due >= due => Claim::Wait(running.until.duration_since(now)),
            Some(_) => Claim::After(Record { waiting: Some(due), ..self.clone() }),
            None => {
                let until = now.checked_add(LEASE).unwrap_or(Timestamp::MAX);
                Claim::Run(Record { running: Some(Running { due, since: now, until }), waiting: None, ..self.clone() })
            }
        }
    }

    /// Returns the record after the run `of` has ended well. `None` if that run isn't the one in progress.
    pub fn ended(&self, of: &Running) -> Option<Record> {
        self.is_running(of).then(|| Record { done: self.done.max(Some(of.due)), running: None, ..self.clone() })
    }

    /// Returns the record after the run `of` has failed, so that its due time can be run again. `None` if that run
    /// isn't the one in progress.
    pub fn failed(&self, of: &Running) -> Option<Record> {
        self.is_running(of).then(|| Record { running: None, ..self.clone() })
    }

    /// Returns the record after the run `of` found an earlier run of an engine still in progress, which the due time
    /// waits for. `None` if `of` isn't the run in progress.
    pub fn postponed(&self, of: &Running) -> Option<Record> {
        self.is_running(of).then(|| Record { running: None, waiting: self.waiting.max(Some(of.due)), ..self.clone() })
    }

    fn is_running(&self, of: &Running) -> bool {
        self.running.as_ref() == Some(of)
    }

    /// Returns the due time whose run must start now: one came during a run that has ended since.
    pub fn follows(&self) -> Option<Timestamp> {
        self.waiting.filter(|waiting| self.running.is_none() && self.done.is_none_or(|done| done < *waiting))
    }
}

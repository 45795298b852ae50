//! The outcome of a flip, and its cause.

use std::fmt;

use serde::{Deserialize, Serialize};
use turntable_core::{decision::Live, record::FlipOrigin};

use super::sql_checks::Scanned;

/// The outcome of a flip or a refresh. All outcomes are expected; anything unexpected is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    #[serde(rename = "swapped")]
    Committed,
    AlreadyLive,
    /// The candidate must not replace live: for example, it is not fresher, or it has been live before.
    Stale,
    /// The audit or the canary failed, or a group's flip went back.
    Rejected,
    /// An operator's hold prevents the flip. Also the outcome of a request for a hold.
    Held,
    /// The dataset's `min_interval` has not elapsed, or other members of its group have no manifest yet.
    Waiting,
    /// A table that is no longer configured was kept or dropped, as an operator decided.
    Retired,
    /// A dataset's table was renamed.
    Renamed,
    /// A dataset was moved: the folder that its table has left, or will leave with its next flip, is swept.
    Moved,
    /// There was nothing to flip: for example, the request was for a status or a release, or drift was only reported.
    Status,
}

impl fmt::Display for Outcome {
    /// Writes the name that appears in log lines. Log queries search for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Committed => "Swapped",
            Outcome::AlreadyLive => "AlreadyLive",
            Outcome::Stale => "Stale",
            Outcome::Rejected => "Rejected",
            Outcome::Held => "Held",
            Outcome::Waiting => "Waiting",
            Outcome::Retired => "Retired",
            Outcome::Renamed => "Renamed",
            Outcome::Moved => "Moved",
            Outcome::Status => "Status",
        })
    }
}

/// The outcome of a request for one dataset, and what is live afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlipReport {
    pub outcome: Outcome,
    pub live: Live,
    /// What was live before, if this request changed it.
    pub previous: Option<Live>,
    pub reasons: Vec<String>,
    /// The checks that ran in Athena, with the number of bytes that each scanned.
    pub checks: Vec<Scanned>,
}

impl FlipReport {
    pub(super) fn unchanged(outcome: Outcome, live: &Live, reasons: Vec<String>) -> FlipReport {
        FlipReport { outcome, live: live.clone(), previous: None, reasons, checks: Vec::new() }
    }
}

/// Who or what caused a flip, and why, for its flip record.
#[derive(Debug, Clone)]
pub struct Cause {
    pub by: FlipOrigin,
    pub why: Option<String>,
    /// See [`turntable_core::record::Flip::request_id`].
    pub request_id: Option<String>,
}

//! Results of a run's steps.

use serde::Serialize;
use turntable::layout::Generation;

/// One generation that went live during the run.
#[derive(Debug, Clone)]
pub struct LiveGeneration {
    pub dataset: String,
    pub generation: Generation,
    pub rows: u64,
    pub bytes: u64,
    /// The seconds from the request to the manifest, as `export` logged them. For opt-outs, the seconds until the flip,
    /// as `optout` logged them.
    pub export_s: f64,
    /// The seconds of audit, `UpdateTable` and record, as `flip` logged them.
    pub flip_s: f64,
}

/// A complete generation that never went live.
#[derive(Debug, Clone, Serialize)]
pub struct Rejected {
    pub dataset: String,
    pub candidate: Generation,
    pub rows: u64,
    /// The error that `flip` logged.
    pub error: String,
}

/// One flip that an operator requested.
#[derive(Debug, Clone, Serialize)]
pub struct Move {
    pub dataset: String,
    /// `rollback` or `flip`.
    pub action: &'static str,
    pub from: Generation,
    pub to: Generation,
    /// The time from the request to the response.
    pub seconds: f64,
}

/// One person's opt-out from an extraction.
#[derive(Debug, Clone, Serialize)]
pub struct OptedOut {
    pub dataset: String,
    /// The view that the extraction reads.
    pub view: String,
    /// The person's rows in the view before the drop, and after.
    pub before: u64,
    pub after: u64,
    /// The time from the end of the put to the end of the first query without the person.
    pub seconds: f64,
}

//! The results of a run's steps.

use serde::Serialize;
use turntable::layout::Generation;

/// One generation that went live during the run.
#[derive(Debug, Clone)]
pub struct LiveGeneration {
    pub dataset: String,
    pub generation: Generation,
    pub rows: u64,
    pub bytes: u64,
    /// Seconds from the request to the manifest, as logged by `export`. For opt-outs, seconds until the flip, as logged
    /// by `optout`.
    pub export_s: f64,
    /// Seconds that the audit, `UpdateTable` and the flip record took, as logged by `flip`.
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
    /// Seconds from the request to the response.
    pub seconds: f64,
}

/// One person's opt-out from an extraction.
#[derive(Debug, Clone, Serialize)]
pub struct OptedOut {
    pub dataset: String,
    /// The view that the extraction reads.
    pub view: String,
    /// How many rows the person has in the view, before the drop and after it.
    pub before: u64,
    pub after: u64,
    /// Seconds from the end of the put to the end of the first query that doesn't find the person.
    pub seconds: f64,
}

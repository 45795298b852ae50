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
    /// Seconds from the request to the manifest, as logged by `export`. For opt-outs, seconds from the start of the
    /// refresh to the flip, as logged by `optout`.
    pub export_s: f64,
    /// Seconds that the audit, `UpdateTable` and the flip record took, as logged by `flip`.
    pub flip_s: f64,
}

/// A candidate that the audit rejected.
#[derive(Debug, Clone, Serialize)]
pub struct Rejected {
    pub dataset: String,
    pub candidate: Generation,
    pub rows: u64,
    /// The error that `flip` logged, with the reasons for the rejection.
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

/// A refresh that a put started, and the one that followed it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Refreshed {
    /// Seconds from the put until the table was live.
    pub on_put_s: f64,
    /// Seconds from then until the table that is built from it was live.
    pub after_s: f64,
}

/// One person's opt-out from an extraction.
#[derive(Debug, Clone, Serialize)]
pub struct OptedOut {
    pub dataset: String,
    /// The view that the extraction reads.
    pub view: String,
    /// How many rows the view had for the person before the drop.
    pub before: u64,
    /// How many rows the view had for the person afterwards.
    pub after: u64,
    /// Seconds from the moment when the drop was written until a query no longer found the person.
    pub seconds: f64,
}

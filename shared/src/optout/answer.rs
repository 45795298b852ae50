//! `optout`'s answers.

use serde::Serialize;
use turntable_core::layout::Generation;
use turntable_events::SqsBatchResponse;

use super::refreshed::Refreshed;
use crate::publish::Outcome;

/// The answer to an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    One(OptedOut),
    Many {
        refreshed: Vec<OptedOut>,
    },
    /// The answer to an SQS event: the messages to redeliver.
    Batch(SqsBatchResponse),
}

/// `optout`'s answer for one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct OptedOut {
    pub dataset: String,
    pub outcome: Outcome,
    pub generation: Option<Generation>,
    /// The number of drops that this request consumed.
    pub drops: u64,
    /// The number of keys that are new or whose consent record has changed.
    pub applied: u64,
    /// The number of rejected records.
    pub rejected: u64,
    /// The number of people who had opted out and are opted in now.
    #[serde(skip_serializing_if = "is_zero")]
    pub returning: u64,
    /// The number of people whom held-back drops would opt back in. See `max_returning`.
    #[serde(skip_serializing_if = "is_zero")]
    pub held_back: u64,
    /// The number of rows in the live table.
    pub rows: u64,
    /// Why nothing was published, or problems that didn't prevent publishing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl OptedOut {
    pub fn new(dataset: &str, refreshed: Refreshed) -> OptedOut {
        let Refreshed { outcome, generation, drops, applied, rejected, returning, held_back, rows, reasons, .. } =
            refreshed;
        OptedOut {
            dataset: dataset.into(),
            outcome,
            generation,
            drops,
            applied,
            rejected,
            returning,
            held_back,
            rows,
            reasons,
        }
    }
}

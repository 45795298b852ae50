//! `optout`'s answers.

use serde::Serialize;
use turntable_core::layout::Generation;
use turntable_events::SqsBatchResponse;

use super::refresh::Refreshed;
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
    /// The number of records that could not be parsed.
    pub rejected: u64,
    /// The number of rows in the live table.
    pub rows: u64,
    /// Why nothing was published, or problems that did not prevent it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl OptedOut {
    pub fn new(dataset: &str, refreshed: Refreshed) -> OptedOut {
        let Refreshed { outcome, generation, drops, applied, rejected, rows, reasons, .. } = refreshed;
        OptedOut { dataset: dataset.into(), outcome, generation, drops, applied, rejected, rows, reasons }
    }
}

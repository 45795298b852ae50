//! `export`'s answers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use turntable_core::layout::{Generation, Location};
use turntable_events::SqsBatchResponse;

/// The answer to an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Exported(Exported),
    EngineResponse(EngineResponse),
    Queued {
        queued: Vec<String>,
    },
    /// The answer to an SQS event: the messages to redeliver.
    Batch(SqsBatchResponse),
}

/// `export`'s answer for one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    pub rows: u64,
    pub bytes: u64,
    pub files: usize,
    pub as_of: Timestamp,
    /// The number of values in each column that became NULL because the column can't represent them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nulled: BTreeMap<String, u64>,
    /// The group's export, if the dataset belongs to a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<ExportedGroup>>,
}

/// The part of `export`'s answer that describes a group.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedGroup {
    pub name: String,
    pub run: String,
    /// Ordered by name.
    pub members: Vec<Exported>,
}

/// `export`'s answer to a request about an engine run. If the run has completed its generation, the answer is
/// [`Exported`] instead.
#[derive(Debug, Clone, Serialize)]
pub struct EngineResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    pub outcome: EngineOutcome,
    /// The engine's own identifier for the run. `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The outcome of a request about an engine run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineOutcome {
    Started,
    Running,
    Failed,
    /// There is nothing to do.
    Nothing,
}

impl EngineOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            EngineOutcome::Started => "started",
            EngineOutcome::Running => "running",
            EngineOutcome::Failed => "failed",
            EngineOutcome::Nothing => "nothing",
        }
    }
}

//! The answers of `export`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use turntable_core::layout::{Generation, Location};
use turntable_events::SqsBatchResponse;

/// The answer of an invocation.
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

/// The answer of `export` for one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    pub rows: u64,
    pub bytes: u64,
    pub files: usize,
    pub as_of: Timestamp,
    /// The number of values that became NULL because the column can't represent them, by column.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nulled: BTreeMap<String, u64>,
    /// For a member of a group: everything that was exported with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<ExportedGroup>>,
}

/// The part of the answer of `export` that describes a group.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedGroup {
    pub name: String,
    pub run: String,
    /// Ordered by name.
    pub members: Vec<Exported>,
}

/// The answer of `export` about a generation that an engine builds: when its run starts, and when it is checked or
/// settled.
#[derive(Debug, Clone, Serialize)]
pub struct EngineResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    pub outcome: EngineOutcome,
    /// The engine's own identifier of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a request about an engine's run came to.
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

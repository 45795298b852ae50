//! The functions' answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    optout::Refreshed,
    publish::{self, FlipReport, Outcome, Scanned},
    status::{Overview, Status},
};
use turntable_core::{
    decision::Live,
    group,
    layout::{Generation, Location},
};

/// The answer of `export` for one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    pub rows: u64,
    pub bytes: u64,
    pub files: usize,
    pub as_of: jiff::Timestamp,
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
    /// `started`, `running`, `failed`, or `nothing` if there is nothing to do.
    pub outcome: &'static str,
    /// The engine's own identifier of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of `flip` for one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Flipped {
    pub dataset: String,
    pub outcome: Outcome,
    /// The live generation, or the live location if it is unmanaged.
    pub live: Option<String>,
    pub previous: Option<String>,
    pub reasons: Vec<String>,
    /// The checks that ran in Athena, with the bytes that each scanned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Scanned>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// For a member of a group: the outcome for the whole group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<FlippedGroup>,
}

/// The part of the answer of `flip` that describes a group.
#[derive(Debug, Clone, Serialize)]
pub struct FlippedGroup {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What is live now, by dataset, for the members whose tables were read.
    pub live: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub previous: BTreeMap<String, Option<String>>,
    /// The time from the first `UpdateTable` to the last flip record, in milliseconds. An upper bound for the time
    /// between the first and the last table's move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_ms: Option<u64>,
    /// The content of `_groups/GROUP.json`, in the answers to status, hold and release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<group::Record>,
}

impl Flipped {
    pub fn new(dataset: &str, ended: FlipReport) -> Flipped {
        Flipped {
            dataset: dataset.into(),
            outcome: ended.outcome,
            live: named(&ended.live),
            previous: ended.previous.as_ref().and_then(named),
            reasons: ended.reasons,
            checks: ended.checks,
            status: None,
            group: None,
        }
    }

    /// Returns the answer of a group, from the point of view of one member.
    pub fn of_group(dataset: &str, group: &str, ended: publish::group::GroupFlipReport) -> Flipped {
        let all = |live: &BTreeMap<String, Live>| live.iter().map(|(name, live)| (name.clone(), named(live))).collect();
        Flipped {
            dataset: dataset.into(),
            outcome: ended.outcome,
            live: ended.live.get(dataset).and_then(named),
            previous: ended.previous.get(dataset).and_then(named),
            reasons: ended.reasons,
            checks: ended.checks,
            status: None,
            group: Some(FlippedGroup {
                name: group.into(),
                run: ended.run.map(|run| run.to_string()),
                live: all(&ended.live),
                previous: all(&ended.previous),
                between_ms: ended.between.map(|between| between.as_millis() as u64),
                record: None,
            }),
        }
    }
}

/// The answer of `flip`: about one dataset, or the status of all.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Response {
    One(Box<Flipped>),
    All(Overview),
}

fn named(live: &Live) -> Option<String> {
    match live {
        Live::NoTable => None,
        Live::Unmanaged(location) => Some(location.to_string()),
        Live::Managed(generation) => Some(generation.to_string()),
    }
}

/// The answer of `sweep`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Swept {
    pub dry_run: bool,
    pub deleted: Vec<Item>,
    pub kept: Vec<Item>,
    /// Drops that were moved from an inbox to the archive, one item per inbox.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archived: Vec<Item>,
    /// The total size of everything that was deleted.
    pub bytes: u64,
    /// Datasets that were skipped or could not be swept to the end, and why.
    pub skipped: Vec<Skipped>,
    /// Messages for an operator.
    pub notes: Vec<String>,
    /// Whether deletable objects may remain because this invocation reached its limits. The next one continues.
    pub more: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Item {
    pub dataset: String,
    /// A generation's location, a key, or a table.
    pub location: String,
    pub reason: String,
    pub objects: u64,
    pub bytes: u64,
    /// When a kept item may be deleted, if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    pub dataset: String,
    pub reason: String,
    /// The error's kind, if the dataset was skipped because of an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
}

/// The answer of `optout` for one dataset.
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
    /// The number of rows of the live table.
    pub rows: u64,
    /// Why nothing was published, and problems that did not prevent publishing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl OptedOut {
    pub fn new(dataset: &str, refreshed: Refreshed) -> OptedOut {
        let Refreshed { outcome, generation, drops, applied, rejected, rows, reasons, .. } = refreshed;
        OptedOut { dataset: dataset.into(), outcome, generation, drops, applied, rejected, rows, reasons }
    }
}

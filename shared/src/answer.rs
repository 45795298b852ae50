//! What the functions answer.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    optout::Refreshed,
    publish::{self, Ended, Outcome, Scanned},
    status::{Overview, Status},
};
use turntable_core::{
    decision::Live,
    group,
    layout::{Generation, Location},
};

/// What `export` answers for one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    pub dataset: String,
    pub generation: Generation,
    pub location: Location,
    pub rows: u64,
    pub bytes: u64,
    pub files: usize,
    pub as_of: jiff::Timestamp,
    /// Values that became NULL because their columns have no place for them, by column.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nulled: BTreeMap<String, u64>,
    /// Of a member of a group: all that was exported with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<ExportedGroup>>,
}

/// What `export` answers of a group.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedGroup {
    pub name: String,
    pub run: String,
    /// In the order of their names.
    pub members: Vec<Exported>,
}

/// What `export` answers where an engine builds the generation, and of its end.
#[derive(Debug, Clone, Serialize)]
pub struct Engaged {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// `started`, `running`, `failed`, or `nothing`, which is to be done.
    pub outcome: &'static str,
    /// The engine's own name of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What `flip` answers.
#[derive(Debug, Clone, Serialize)]
pub struct Flipped {
    pub dataset: String,
    pub outcome: Outcome,
    /// A generation, or the location that is none of ours.
    pub live: Option<String>,
    pub previous: Option<String>,
    pub reasons: Vec<String>,
    /// What each question to Athena scanned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Scanned>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Of a member of a group: what became of all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<FlippedGroup>,
}

/// What `flip` answers of a group.
#[derive(Debug, Clone, Serialize)]
pub struct FlippedGroup {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What readers read now, by dataset, as far as it was looked at.
    pub live: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub previous: BTreeMap<String, Option<String>>,
    /// From the first `UpdateTable` to the last flip record, at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_ms: Option<u64>,
    /// What stands in `_groups/GROUP.json`: `status` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<group::Record>,
}

impl Flipped {
    pub fn new(dataset: &str, ended: Ended) -> Flipped {
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

    /// As one member of the group sees it.
    pub fn of_group(dataset: &str, group: &str, ended: publish::group::Ended) -> Flipped {
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

/// What `flip` answers: about one dataset, or how all are.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Told {
    One(Box<Flipped>),
    All(Overview),
}

fn named(live: &Live) -> Option<String> {
    match live {
        Live::NoTable => None,
        Live::Foreign(location) => Some(location.to_string()),
        Live::Ours(generation) => Some(generation.to_string()),
    }
}

/// What `sweep` answers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Swept {
    pub dry_run: bool,
    pub deleted: Vec<Item>,
    pub kept: Vec<Item>,
    /// Drops that were moved out of an inbox, by inbox.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archived: Vec<Item>,
    /// Of all that was deleted.
    pub bytes: u64,
    /// Datasets of which nothing was deleted, and why.
    pub skipped: Vec<Skipped>,
    /// What an operator should know.
    pub notes: Vec<String>,
    /// Whether something may go that did not fit into this invocation: the next one goes on.
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
    /// When what is kept may go, if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    pub dataset: String,
    pub reason: String,
    /// The kind of the error, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
}

/// What `optout` answers for one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct OptedOut {
    pub dataset: String,
    pub outcome: Outcome,
    pub generation: Option<Generation>,
    /// Drops that this request has consumed.
    pub drops: u64,
    /// Keys that are new or whose word has changed.
    pub applied: u64,
    pub rejected: u64,
    /// Of the live table.
    pub rows: u64,
    /// Why not, and what went wrong beside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl OptedOut {
    pub fn new(dataset: &str, refreshed: Refreshed) -> OptedOut {
        let Refreshed { outcome, generation, drops, applied, rejected, rows, reasons, .. } = refreshed;
        OptedOut { dataset: dataset.into(), outcome, generation, drops, applied, rejected, rows, reasons }
    }
}

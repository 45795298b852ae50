//! `flip`'s responses.

use std::collections::BTreeMap;

use serde::Serialize;
use turntable_core::{decision::Live, group};

use crate::{
    publish::{self, FlipReport, Outcome, Scanned, retire::Stays},
    status::{Overview, Status},
};

/// `flip`'s response for one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Flipped {
    pub dataset: String,
    pub outcome: Outcome,
    /// The live generation, or the live location if it is unmanaged.
    pub live: Option<String>,
    pub previous: Option<String>,
    pub reasons: Vec<String>,
    /// The checks that ran in Athena, with the number of bytes that each scanned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Scanned>,
    /// What stays in the bucket after a table has been retired.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stays>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The outcome for the whole group. `None` if the request concerned only one dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<FlippedGroup>,
}

/// The part of a response that describes a group.
#[derive(Debug, Clone, Serialize)]
pub struct FlippedGroup {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The live generation or location of each member whose table was read, by the dataset's name.
    pub live: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub previous: BTreeMap<String, Option<String>>,
    /// The time from the first attempt to send an `UpdateTable` to the last flip record, in milliseconds. It is an
    /// upper bound on the time between the switches of the first and the last table. `None` if this invocation made no
    /// attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_ms: Option<u64>,
    /// The content of `_groups/GROUP.json`. Set only for the actions status, hold and release.
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
            stays: Vec::new(),
            status: None,
            group: None,
        }
    }

    /// Returns the response to a request for a group. The fields outside `group` describe the member `dataset`.
    pub fn of_group(dataset: &str, group: &str, ended: publish::group::GroupFlipReport) -> Flipped {
        let all = |live: &BTreeMap<String, Live>| live.iter().map(|(name, live)| (name.clone(), named(live))).collect();
        Flipped {
            dataset: dataset.into(),
            outcome: ended.outcome,
            live: ended.live.get(dataset).and_then(named),
            previous: ended.previous.get(dataset).and_then(named),
            reasons: ended.reasons,
            checks: ended.checks,
            stays: Vec::new(),
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

/// `flip`'s response: for one dataset, or the status of all.
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

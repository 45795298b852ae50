//! Loads the detailed status of one dataset.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    inbox::{self, InboxStatus},
    refresh::{self, RefreshStatus},
};
use crate::publish::{
    self, FlipReport, Outcome, detect_drift, drift_suspected,
    verify::{Differences, verify},
};
use crate::{
    catalog,
    environment::Environment,
    sweep::{self, Complete},
};
use turntable_core::{
    adoption::Adoption,
    config::{Dataset, Source},
    decision::Live,
    error::Result,
    layout::Generation,
    record::{Canary, Flip, FlipOrigin, Hold},
    sweep::OldestQuery,
};

/// The detailed status of one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub hold: Option<Hold>,
    /// A message about the table's drift. `None` if the table hasn't drifted.
    #[serde(rename = "unflip")]
    pub drift: Option<String>,
    /// A message about the differences between the table and its live generation, apart from its location. `None` if
    /// there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<String>,
    /// A message about files in the live generation that were lost, changed or added. `None` if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// The last flip on record. `None` if there is none.
    pub last_flip: Option<Flip>,
    /// The newest complete generations, at most 20, newest first.
    pub generations: Vec<Known>,
    pub next_sweep: NextSweep,
    /// The dataset's own refreshes. `None` if the stack's schedule refreshes it, or if it is an inbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshStatus>,
    /// The inputs' generations from which the live generation was built, by dataset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub built_from: BTreeMap<String, Generation>,
    /// A message about inputs that have been rolled back since. `None` if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// The inbox and its views. `None` if the source is not an inbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox: Option<InboxStatus>,
}

/// A complete generation.
#[derive(Debug, Clone, Serialize)]
pub struct Known {
    pub generation: Generation,
    pub state: Place,
    pub live: bool,
    pub as_of: Timestamp,
    /// Seconds since `as_of`.
    pub age_seconds: i64,
    pub rows: u64,
    pub bytes: u64,
    /// The last flip to this generation. `None` if there is none on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flipped: Option<Flipped>,
}

/// The state of a complete generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Live,
    /// Was live before, but isn't live now.
    Replaced,
    /// Has never been live.
    Candidate,
}

/// Who or what made a generation live, when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flipped {
    pub at: Timestamp,
    pub by: FlipOrigin,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// What the flip changed in a table that Turntable didn't create. `None` if the flip didn't adopt a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adoption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What a sweep would do now. `status` doesn't query Athena for running queries, so the sweep itself may keep more
/// generations, because running queries may still read them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NextSweep {
    /// Why the sweep would skip this dataset and delete nothing. `None` if it would not skip the dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    pub deletes: Vec<Fate>,
    pub keeps: Vec<Fate>,
}

/// What a sweep would do with a generation, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fate {
    pub generation: Generation,
    pub reason: String,
    /// When a kept generation may be deleted if nothing else happens. `None` if this is unknown, or if the sweep would
    /// delete the generation now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The maximum number of generations that a status lists.
const MAX_GENERATIONS: usize = 20;

/// Returns a report of what is live, and the dataset's detailed status.
pub async fn status(env: &Environment, dataset: &Dataset) -> Result<(FlipReport, Status)> {
    let now = env.clock.now();
    let tables = catalog::in_database(env, &dataset.table.database).await?;
    let seen = sweep::load(env, dataset, &tables).await?;
    let live = seen.state.live.clone();
    let hold = publish::held(env, dataset, &live).await?;
    let drift = match drift_suspected(dataset, &live, &seen.state.flips) {
        true => detect_drift(env, dataset).await?,
        false => None,
    };
    let flips: BTreeMap<Generation, &Flip> = seen.state.flips.iter().map(|(_, flip)| (flip.to, flip)).collect();

    let mut complete: Vec<&Complete> = seen.complete.iter().collect();
    complete.sort_by_key(|one| Reverse(one.generation.ulid));
    let known = complete.into_iter().take(MAX_GENERATIONS).map(|one| {
        let flipped = flips.get(&one.generation);
        let is_live = live == Live::Managed(one.generation);
        Known {
            generation: one.generation,
            state: match flipped {
                _ if is_live => Place::Live,
                Some(_) => Place::Replaced,
                None => Place::Candidate,
            },
            live: is_live,
            as_of: one.as_of,
            age_seconds: now.duration_since(one.as_of).as_secs(),
            rows: one.rows,
            bytes: one.bytes,
            flipped: flipped.map(|flip| Flipped {
                at: flip.at,
                by: flip.by,
                why: flip.why.clone(),
                canary: flip.canary,
                adopted: flip.adopted.clone(),
                request_id: flip.request_id.clone(),
            }),
        }
    });
    let generations = known.collect();

    let last_flip = seen.state.flips.last().map(|(_, flip)| flip.clone());
    let from = last_flip.as_ref().filter(|flip| live == Live::Managed(flip.to)).and_then(|flip| flip.from.as_ref());
    let previous = from.map(|location| Live::of(&dataset.paths, Some(location)));
    let drift = drift.map(|drift| drift.told(dataset));
    let Differences { edited, damaged } =
        verify(env, dataset, seen.table.as_ref(), seen.live_manifest.as_ref()).await?;
    let (refresh, outdated) = refresh::load(env, dataset, seen.live_manifest.as_ref(), now).await?;
    let reasons = [&drift, &edited, &damaged, &outdated].into_iter().flatten().cloned().collect();
    let next_sweep = next_sweep(dataset, &seen, now);
    let inbox = match &dataset.source {
        Source::Inbox(inbox) => Some(inbox::status(env, dataset, inbox, seen.live_manifest.as_ref()).await?),
        _ => None,
    };
    let built_from = seen.live_manifest.map(|manifest| manifest.inputs).unwrap_or_default();
    let ended = FlipReport { outcome: Outcome::Status, live, previous, reasons, checks: Vec::new() };
    Ok((
        ended,
        Status {
            hold,
            drift,
            edited,
            damaged,
            last_flip,
            generations,
            next_sweep,
            refresh,
            built_from,
            outdated,
            inbox,
        },
    ))
}

fn next_sweep(dataset: &Dataset, seen: &sweep::TableContents, now: Timestamp) -> NextSweep {
    let not_asked = OldestQuery::NotAsked("status does not query Athena".into());
    match sweep::plan(&dataset.paths, &seen.state, &dataset.retain, &not_asked, now) {
        Err(reason) => NextSweep { skipped: Some(reason), ..NextSweep::default() },
        Ok(plan) => NextSweep {
            skipped: None,
            deletes: plan
                .go
                .into_iter()
                .map(|(generation, reason)| Fate { generation, reason: reason.to_string(), until: None })
                .collect(),
            keeps: plan
                .kept
                .into_iter()
                .map(|kept| Fate { generation: kept.generation, reason: kept.reason.to_string(), until: kept.until })
                .collect(),
        },
    }
}

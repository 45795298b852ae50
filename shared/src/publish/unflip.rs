//! Somebody else has moved the table: noticed by comparing it with the last flip record, and put right where the
//! dataset says so.
//!
//! # Why a repair never undoes a flip of ours
//!
//! What is seen here is read in this order: the table with its `VersionId`, then `_returns/`, then the flip records;
//! and the repair updates the table on that very `VersionId`. Let live be a generation that has been live before, and the
//! last record be of another one ([`decision::unflip`]).
//!
//! - One of ours brought it back: then `_returns/` said so before the table was touched, and that is seen.
//! - A flip of ours comes between the reading of the table and the repair: then the `VersionId` is stale, and all is read
//!   again.

use tracing::warn;
use ulid::Ulid;

use super::{
    ATTEMPTS, Cause, Ended, Look, Outcome, busy, group, judge,
    look::{self, Begun},
    manifest,
    swap::{next_table, swap},
};
use crate::{
    environment::World,
    metric::{Metric, emit},
    publish::refuse_swept,
};
use turntable_core::{
    config::{Checks, Dataset, OnUnflip},
    decision::{self, Live},
    error::Result,
    layout::Generation,
    record::{By, Flip},
    table::TableVersion,
};

/// What somebody else has done to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unflip {
    /// Where readers read now.
    pub live: Live,
    /// The last flip on record went there.
    pub expected: Generation,
}

impl Unflip {
    pub fn told(&self, dataset: &Dataset) -> String {
        let live = self.live.location(&dataset.home).map_or_else(|| "gone".into(), |location| format!("at {location}"));
        format!(
            "{}: un-flipped: the table is {live}, and the last flip on record went to {}: somebody else has changed it",
            dataset.table, self.expected
        )
    }
}

/// Whether somebody else has moved the table since our last flip, and the look that tells.
async fn seen(world: &World, dataset: &Dataset) -> Result<Option<(Unflip, Look)>> {
    for _ in 0..ATTEMPTS {
        let begun = Begun::now(world, dataset).await?;
        let returned = match begun.live.generation() {
            Some(live) => look::returned(world, dataset, &live).await?,
            None => Vec::new(),
        };
        let hold = look::hold(world, dataset).await?;
        let look = begun.finish(world, dataset, hold).await?;
        let mut flips = look.recorded();
        if let (None, Some((_, last))) = (look.state.live.generation(), flips.last()) {
            // Where live is none of ours, the look has read the last one only, and that may have come late.
            flips = look::flips(world, dataset, Some(last.to.ulid)).await?;
        }
        let live = look.state.live.clone();
        let Some(expected) = decision::unflip(&dataset.home, &live, &flips, &returned) else { return Ok(None) };
        // A flip of ours that came after the table was read is on record, and not in the table that was read.
        let now = world.catalog.table(&dataset.table).await?;
        let token = |table: Option<&TableVersion>| table.and_then(|table| table.token.clone());
        if token(now.as_ref()) == token(look.table.as_ref()) {
            return Ok(Some((Unflip { live, expected }, look)));
        }
    }
    Err(busy(dataset))
}

/// Whether it is worth asking [`watch`], by a look that somebody has taken already: what has been brought back was not
/// read for it. So it may be wrong where it says yes, and never where it says no.
pub fn suspected(dataset: &Dataset, live: &Live, flips: &[(Ulid, Flip)]) -> bool {
    decision::unflip(&dataset.home, live, flips, &[]).is_some()
}

/// For a person: what [`watch`] would see.
pub async fn unflip(world: &World, dataset: &Dataset) -> Result<Option<Unflip>> {
    Ok(seen(world, dataset).await?.map(|(unflip, _)| unflip))
}

/// Notices an un-flip, and flips back where the dataset says so, unless a hold is on. `None`: all is as we left it.
pub async fn watch(world: &World, dataset: &Dataset) -> Result<Option<Ended>> {
    let mut told: Option<String> = None;
    for _ in 0..ATTEMPTS {
        let Some((unflip, look)) = seen(world, dataset).await? else {
            return Ok(None);
        };
        if told.is_none() {
            warn!(dataset = dataset.name, expected = %unflip.expected, repair = ?dataset.on_unflip, "un-flip");
            emit(world.clock.now(), &dataset.name, &[(Metric::Unflips, 1.0)]);
        }
        let told = told.insert(unflip.told(dataset)).clone();
        let stays = |outcome, more: Vec<String>| {
            let reasons = [vec![told.clone()], more].concat();
            Ok(Some(Ended::unchanged(outcome, &unflip.live, reasons)))
        };
        if dataset.on_unflip == OnUnflip::Report {
            return stays(Outcome::Status, Vec::new());
        }
        if let Some(hold) = &look.state.hold {
            return stays(Outcome::Held, vec![hold.reason.clone()]);
        }
        if let Some(why) = group::against_repair(world, dataset, unflip.expected).await? {
            return stays(Outcome::Status, vec![why]);
        }
        if unflip.live == Live::NoTable && !dataset.create {
            return stays(Outcome::Status, vec!["the dataset says create = false: create the table".into()]);
        }
        refuse_swept(world, dataset, &unflip.expected).await?;
        let Some(target) = manifest(world, dataset, &unflip.expected).await? else {
            return stays(Outcome::Rejected, vec![format!("{} has no manifest any more", unflip.expected)]);
        };
        // As for a rollback: it has passed its checks before.
        let policy = dataset.schema.back();
        let reasons = judge(world, &target, &look, &Checks::default(), policy).await?.reasons();
        if !reasons.is_empty() {
            return stays(Outcome::Rejected, reasons);
        }
        let input = next_table(dataset, &look, &target, policy);
        let cause = Cause { by: By::Repair, why: Some(told.clone()) };
        if let Some(swapped) = swap(world, dataset, &target, look, input, &cause).await? {
            return Ok(Some(Ended { reasons: vec![told], ..swapped.ended }));
        }
    }
    Err(busy(dataset))
}

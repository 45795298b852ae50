//! Detects drift by comparing the table with the last flip record, and repairs it if the dataset says so. A table has
//! drifted when something outside Turntable has moved or changed it.
//!
//! # Why a repair never undoes a flip that Turntable made
//!
//! Detection reads in this order: the table with its `VersionId`, then `_returns/`, then the flip records. The repair
//! updates the table with that same `VersionId`. Suppose that the live generation has been live before, and that the
//! last flip record is of another generation ([`decision::unflip`]). There are two ways in which Turntable itself may be
//! the cause:
//!
//! - Turntable brought the generation back before the table was read. Then it had written its intent to `_returns/`
//!   before it updated the table. Detection reads `_returns/` after the table, sees the intent, and reports no drift.
//!   Only flips by events write no intent, and an event never brings back a generation that has been live before.
//! - Turntable flips after the table was read and before the repair. Then the repair's `VersionId` is stale, its update
//!   fails, and everything is read again.

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

/// A drift: where the table is, and where its flip records say that it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unflip {
    /// What the table names now.
    pub live: Live,
    /// The target of the last flip on record.
    pub expected: Generation,
}

impl Unflip {
    /// Returns the message that reports the drift to an operator.
    pub fn told(&self, dataset: &Dataset) -> String {
        let live = self.live.location(&dataset.home).map_or_else(|| "gone".into(), |location| format!("at {location}"));
        format!(
            "{}: drift: the table is {live}, but its last recorded flip went to {}: something outside Turntable changed it",
            dataset.table, self.expected
        )
    }
}

/// Returns the drift since Turntable's last flip and the table state that shows it, or `None` if there is none.
///
/// Fails as `Conflict` if the table changes during every attempt.
async fn detect(world: &World, dataset: &Dataset) -> Result<Option<(Unflip, Look)>> {
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
            // If live is unmanaged, only the last flip record was loaded. It may be a recovered record that was written
            // late, so the records since its generation are needed too.
            flips = look::flips(world, dataset, Some(last.to.ulid)).await?;
        }
        let live = look.state.live.clone();
        let Some(expected) = decision::unflip(&dataset.home, &live, &flips, &returned) else { return Ok(None) };
        // A flip made after the table was read may be among the records, but not in the table that was read.
        let now = world.catalog.table(&dataset.table).await?;
        let token = |table: Option<&TableVersion>| table.and_then(|table| table.token.clone());
        if token(now.as_ref()) == token(look.table.as_ref()) {
            return Ok(Some((Unflip { live, expected }, look)));
        }
    }
    Err(busy(dataset))
}

/// Checks whether [`watch`] is worth a call, based on state that the caller has already loaded. `_returns/` is not part
/// of that state, so a `true` may be wrong; a `false` never is.
pub fn suspected(dataset: &Dataset, live: &Live, flips: &[(Ulid, Flip)]) -> bool {
    decision::unflip(&dataset.home, live, flips, &[]).is_some()
}

/// Returns the drift that [`watch`] would detect, for an operator. Changes nothing.
pub async fn unflip(world: &World, dataset: &Dataset) -> Result<Option<Unflip>> {
    Ok(detect(world, dataset).await?.map(|(unflip, _)| unflip))
}

/// Detects drift and reports it. Repairs it if the dataset says so and no hold prevents it.
///
/// Returns `None` if there is no drift.
pub async fn watch(world: &World, dataset: &Dataset) -> Result<Option<Ended>> {
    let mut told: Option<String> = None;
    for _ in 0..ATTEMPTS {
        let Some((unflip, look)) = detect(world, dataset).await? else {
            return Ok(None);
        };
        if told.is_none() {
            warn!(dataset = dataset.name, expected = %unflip.expected, repair = ?dataset.on_unflip, "drift");
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
            return stays(Outcome::Status, vec!["the dataset has create = false: create the table".into()]);
        }
        refuse_swept(world, dataset, &unflip.expected).await?;
        let Some(target) = manifest(world, dataset, &unflip.expected).await? else {
            return stays(
                Outcome::Rejected,
                vec![format!("{} can't be restored: its manifest is gone", unflip.expected)],
            );
        };
        // As for a rollback, only the structure is audited: the generation passed its checks when it went live.
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

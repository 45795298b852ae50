//! Operators' requests: rollback, hold and release.

use tracing::warn;

use super::{ATTEMPTS, Cause, Ended, Look, Outcome, busy, judge, look, manifest, next_table, swap};
use crate::{environment::World, publish::refuse_swept};
use turntable_core::{
    config::{Checks, Dataset, Source},
    decision::{self, Live},
    error::{Error, Result},
    layout::Generation,
    port::Update,
    record::{self, By, Flip, Hold},
    table::TableChange,
};

/// Flips back to the generation before live, or to a named one.
///
/// The generation's structure is audited again: a swept or damaged generation is rejected. A hold does not prevent a
/// rollback, because an operator requests both. Once it has returned, no event of an export that began before undoes
/// it.
///
/// A rollback is idempotent: a repeated request, after a lost answer or a crash, leaves the table where the rollback
/// put it.
pub async fn rollback(
    world: &World,
    dataset: &Dataset,
    wanted: Option<Generation>,
    reason: Option<String>,
) -> Result<Ended> {
    if matches!(dataset.source, Source::Inbox(_)) {
        return Err(Error::input(format!(
            "datasets.{}: an inbox dataset can't be rolled back, because a published opt-out stays published; to \
             change one, put a new drop into the inbox",
            dataset.name
        )));
    }
    let cause = Cause { by: By::Rollback, why: reason };
    for _ in 0..ATTEMPTS {
        let live = look::live(world, dataset).await?;
        let oldest = wanted.into_iter().chain(live.generation()).min_by_key(|generation| generation.ulid);
        let oldest = oldest.ok_or_else(|| {
            Error::input(format!(
                "{}: no managed generation is live, so there is nothing to roll back: invoke flip with a generation",
                dataset.table
            ))
        })?;
        let look = Look::at(world, dataset, &oldest).await?;
        // An earlier attempt may have died before it wrote its flip record. It must be on record to be recognised.
        if look.recover(world, dataset).await?.is_some() {
            continue;
        }
        let target = decision::rollback(&dataset.home, &look.state, wanted)?;
        if look.state.live == Live::Ours(target) {
            if !adopt(world, dataset, &look, target, &cause).await? {
                continue;
            }
            let reasons = match wanted {
                Some(_) => Vec::new(),
                None => {
                    vec![format!("the last rollback already went to {target}: name a generation to go to another one")]
                }
            };
            // The rollback that went there may have died before its fence.
            if decision::is_rolled_back(&look.state) && !fence(world, dataset).await? {
                return Err(may_be_undone(dataset, &target));
            }
            return Ok(Ended::unchanged(Outcome::AlreadyLive, &look.state.live, reasons));
        }
        refuse_swept(world, dataset, &target).await?;
        let candidate = manifest(world, dataset, &target).await?.ok_or_else(|| {
            Error::input(format!(
                "{}: no such manifest: {target} was swept, or was never complete",
                dataset.home.manifest(&target)
            ))
        })?;
        let structure_only = Checks::default();
        let policy = dataset.schema.back();
        let reasons = judge(world, &candidate, &look, &structure_only, policy).await?.reasons();
        if !reasons.is_empty() {
            return Ok(Ended::unchanged(Outcome::Rejected, &look.state.live, reasons));
        }
        let input = next_table(dataset, &look, &candidate, policy);
        if let Some(swapped) = swap(world, dataset, &candidate, look, input, &cause).await? {
            // A flip that loaded its state between the update and its record does not know of the rollback.
            if !swapped.recorded || !fence(world, dataset).await? {
                return Err(may_be_undone(dataset, &target));
            }
            return Ok(swapped.ended);
        }
    }
    Err(busy(dataset))
}

fn may_be_undone(dataset: &Dataset, target: &Generation) -> Error {
    Error::conflict(format!(
        "{}: the table was rolled back to {target}, but an export that began before may still undo it: set a hold, or \
         check with status",
        dataset.table
    ))
}

/// Records that an operator wants the live generation although something outside Turntable brought it back, so that no
/// repair moves it.
///
/// Returns `false` if the table has changed since it was loaded: reload and retry.
pub(super) async fn adopt(
    world: &World,
    dataset: &Dataset,
    look: &Look,
    live: Generation,
    cause: &Cause,
) -> Result<bool> {
    if !look.state.was_live(&live) {
        return Ok(true);
    }
    let recovered = look.recover(world, dataset).await?;
    let Some((last_ulid, last)) = recovered.or_else(|| look.last_flip()).filter(|(_, last)| last.to != live) else {
        return Ok(true);
    };
    let ulid = record::later(world.clock.ulid(), [last_ulid]);
    // The table may have been read before a flip that is among the records. Such a flip is not drift.
    let Some(table) = look.table.as_ref().filter(|table| table.token.is_some()) else { return Ok(true) };
    let sent = world.catalog.update(table, &TableChange::default()).await?;
    if sent != Update::Done {
        return Ok(false);
    }
    let flip = Flip {
        dataset: dataset.name.clone(),
        at: world.clock.now(),
        from: Some(dataset.home.generation(&last.to)),
        to: live,
        by: cause.by,
        why: cause.why.clone(),
        canary: None,
    };
    world.objects.put_new(&dataset.home.flip(ulid), record::to_json(&flip).into()).await?;
    // After this fence, a repair that loaded its state before the record was written has a stale `VersionId`.
    if fence(world, dataset).await? {
        return Ok(true);
    }
    Err(Error::conflict(format!(
        "{}: {live} is live, but a repair that began before may still undo it: send the request again",
        dataset.table
    )))
}

/// Writes a hold. Once it has returned, no flip but a rollback happens until the release. Exports
/// continue.
pub async fn hold(world: &World, dataset: &Dataset, reason: String) -> Result<()> {
    let hold = Hold { at: world.clock.now(), reason, released: false };
    world.objects.put(&dataset.home.hold(), record::to_json(&hold).into()).await?;
    if fence(world, dataset).await? {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "{}: the hold is written, but a flip that began before may still go live: send the hold again",
        dataset.table
    )))
}

/// Ends the hold. Its object stays, marked as released.
pub async fn release(world: &World, dataset: &Dataset, reason: Option<String>) -> Result<()> {
    let released = Hold { at: world.clock.now(), reason: reason.unwrap_or_default(), released: true };
    world.objects.put(&dataset.home.hold(), record::to_json(&released).into()).await
}

/// Fences the table: gives it a new `VersionId` and changes nothing else.
///
/// A flip that loaded its state before the caller's last write then fails its version check, reloads, and sees that
/// write. Returns whether the table is fenced. A table that does not exist needs no fence.
async fn fence(world: &World, dataset: &Dataset) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        let Some(table) = world.catalog.table(&dataset.table).await? else { return Ok(true) };
        if table.token.is_none() {
            return Ok(true);
        }
        match world.catalog.update(&table, &TableChange::default()).await {
            Ok(Update::Done) => return Ok(true),
            Ok(Update::Conflict) => {}
            Err(error) => warn!(dataset = dataset.name, error = error.report(), "table not fenced yet"),
        }
    }
    Ok(false)
}

//! What only an operator asks for: rollback, hold, release.

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

/// A flip back to the generation before live, or to a named one. Its structure is audited again: one that was swept
/// or damaged is rejected. A hold does not stop it, because both are the operator's word. From the moment that it
/// returns, no event of an export that began before undoes it. Asked again, because its answer was lost or it died, it
/// stays where it is.
pub async fn rollback(
    world: &World,
    dataset: &Dataset,
    wanted: Option<Generation>,
    reason: Option<String>,
) -> Result<Ended> {
    if matches!(dataset.source, Source::Inbox(_)) {
        return Err(Error::input(format!(
            "datasets.{}: an opt-out is never un-published, so an inbox dataset has no rollback: put a drop that says \
             otherwise into the inbox instead",
            dataset.name
        )));
    }
    let cause = Cause { by: By::Rollback, why: reason };
    for _ in 0..ATTEMPTS {
        let live = look::live(world, dataset).await?;
        let oldest = wanted.into_iter().chain(live.generation()).min_by_key(|generation| generation.ulid);
        let oldest = oldest.ok_or_else(|| {
            Error::input(format!(
                "{}: live is no generation of ours: there is nothing to roll back from",
                dataset.table
            ))
        })?;
        let look = Look::at(world, dataset, &oldest).await?;
        // A rollback that died before its record is asked again: what it did must be on record to be known.
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
                None => vec![format!("{target} is where the last rollback went: name a generation to go elsewhere")],
            };
            // The one that went there may have died before its fence.
            if decision::is_rolled_back(&look.state) && !fence(world, dataset).await? {
                return Err(may_be_undone(dataset, &target));
            }
            return Ok(Ended::unchanged(Outcome::AlreadyLive, &look.state.live, reasons));
        }
        refuse_swept(world, dataset, &target).await?;
        let candidate = manifest(world, dataset, &target).await?.ok_or_else(|| {
            Error::input(format!(
                "{}: no manifest: {target} was swept, or was never complete",
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
            // A flip that has looked between the update and its record does not know of the rollback.
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
        "{}: the table is back at {target}, but an export that began before may still undo it: put a hold, or look again \
         with status",
        dataset.table
    ))
}

/// Puts on record that an operator wants what is live, should somebody else have brought it back: nobody repairs it then.
/// `false`: the table has changed since the look, look again.
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
    // What was read of the table may be older than the records: a flip of ours that came between is no un-flip.
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
    // A repair that has looked before the record was there fails its version check.
    if fence(world, dataset).await? {
        return Ok(true);
    }
    Err(Error::conflict(format!(
        "{}: {live} is live, and a repair that began before may still undo it: ask again",
        dataset.table
    )))
}

/// Stops flips, not exports, from the moment that it returns.
pub async fn hold(world: &World, dataset: &Dataset, reason: String) -> Result<()> {
    let hold = Hold { at: world.clock.now(), reason, released: false };
    world.objects.put(&dataset.home.hold(), record::to_json(&hold).into()).await?;
    if fence(world, dataset).await? {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "{}: the hold is written, but a flip that began before it may still land: run hold again",
        dataset.table
    )))
}

pub async fn release(world: &World, dataset: &Dataset, reason: Option<String>) -> Result<()> {
    let released = Hold { at: world.clock.now(), reason: reason.unwrap_or_default(), released: true };
    world.objects.put(&dataset.home.hold(), record::to_json(&released).into()).await
}

/// A new `VersionId` for the same table: a flip that looked before what was written last fails its version check, looks
/// again and sees it. Whether that was done.
async fn fence(world: &World, dataset: &Dataset) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        let Some(table) = world.catalog.table(&dataset.table).await? else { return Ok(true) };
        if table.token.is_none() {
            return Ok(true);
        }
        match world.catalog.update(&table, &TableChange::default()).await {
            Ok(Update::Done) => return Ok(true),
            Ok(Update::Conflict) => {}
            Err(error) => warn!(dataset = dataset.name, error = error.report(), "not fenced yet"),
        }
    }
    Ok(false)
}

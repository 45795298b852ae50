//! The canary: one question on the real table after a flip, and the way back when its answer is not true.

use tracing::{error, warn};
use ulid::Ulid;

use super::{
    ATTEMPTS, Cause, Ended, Look, Outcome, ask, busy, look, manifest,
    swap::{next_table, swap},
};
use crate::{
    audit::Question,
    aws::glue,
    config::Dataset,
    error::Result,
    manifest::Manifest,
    name::{Generation, Location},
    plan::Live,
    record::{self, By, Canary, Flip},
    sweep::refuse_swept,
    world::World,
};

/// What the record of a flip says of its canary before it was asked.
pub fn pending(dataset: &Dataset) -> Option<Canary> {
    dataset.checks.canary.as_ref().map(|_| Canary::Pending)
}

/// Asks the canary of a flip, unless it was asked before, and goes back if its answer is not true. A flip that died
/// before its canary is found with a pending record, and asked about then. Where Athena does not answer, the flip
/// stands and stays pending.
pub async fn settle(
    world: &World,
    dataset: &Dataset,
    candidate: &Manifest,
    (ulid, flip): (Ulid, Flip),
    mut ended: Ended,
) -> Result<Ended> {
    let Some(sql) = dataset.checks.canary.as_ref().filter(|_| flip.canary == Some(Canary::Pending)) else {
        return Ok(ended);
    };
    let question = Question::truth("canary", sql, &dataset.table);
    let answer = match ask::ask(world, &dataset.table.database, &question).await {
        Ok(answer) => answer,
        Err(failure) => {
            error!(dataset = dataset.name, error = failure.report(), "canary not asked: the flip stands");
            ended.reasons.push(format!("{}: not asked, the flip stands: {}", question.check, failure.message()));
            return Ok(ended);
        }
    };
    ended.checks.extend(answer.scanned);
    let Some(reason) = answer.reason else {
        passed(world, dataset, ulid, flip).await;
        return Ok(ended);
    };
    let (live, told) = back(world, dataset, candidate.generation, flip.from.as_ref(), &reason).await?;
    let previous = (live != ended.live).then_some(ended.live);
    Ok(Ended { outcome: Outcome::Rejected, live, previous, reasons: vec![reason, told], checks: ended.checks })
}

async fn passed(world: &World, dataset: &Dataset, ulid: Ulid, flip: Flip) {
    let key = dataset.home.flip(ulid);
    let flip = Flip { canary: Some(Canary::Passed), ..flip };
    if let Err(error) = world.objects.put(&key, record::to_json(&flip).into()).await {
        // A later duplicate of the event asks once more.
        warn!(dataset = dataset.name, key = %key, error = error.report(), "passed canary not recorded");
    }
}

/// Takes the table back to where it was before `failed`, if that is still live. Gives what is live now, and in words
/// what was done.
async fn back(
    world: &World,
    dataset: &Dataset,
    failed: Generation,
    from: Option<&Location>,
    why: &str,
) -> Result<(Live, String)> {
    let before = Live::of(&dataset.home, from);
    // Columns that the flip has changed go back with it.
    let policy = dataset.schema.back();
    let cause = Cause { by: By::Canary, why: Some(why.into()) };
    for _ in 0..ATTEMPTS {
        let oldest = before.generation().into_iter().chain([failed]).min_by_key(|generation| generation.ulid);
        let look = Look::at(world, dataset, &oldest.unwrap_or(failed)).await?;
        let stays = |why: &str| Ok((look.state.live.clone(), format!("canary: {failed} stays live: {why}")));
        if look.state.live != Live::Ours(failed) {
            return Ok((look.state.live, format!("canary: {failed} was replaced meanwhile")));
        }
        if let Some(hold) = &look.state.hold {
            return stays(&format!("a hold is on: {}", hold.reason));
        }
        match &before {
            // A table that readers may have found is not deleted: only sweep may delete.
            Live::NoTable => return stays("there was no table before to go back to"),
            Live::Ours(generation) => {
                refuse_swept(world, dataset, generation).await?;
                let Some(target) = manifest(world, dataset, generation).await? else {
                    return stays(&format!("{generation} has been swept"));
                };
                let input = next_table(dataset, &look, &target, policy);
                if swap(world, dataset, &target, look, input, &cause).await?.is_some() {
                    return Ok((before.clone(), format!("canary: the table went back to {generation}")));
                }
            }
            // Its ranges and its template are on no record.
            Live::Foreign(location) if !dataset.partition_by.is_empty() => {
                return stays(&format!("before it was {location}, of whose partitions there is no record"));
            }
            Live::Foreign(location) => {
                if moved(world, dataset, &look, location).await? {
                    let told = format!(
                        "canary: the table went back to {location}, which is none of ours: the next flip takes an operator's request"
                    );
                    return Ok((before.clone(), told));
                }
            }
        }
    }
    Err(busy(dataset))
}

/// Moves the table to a location of somebody else's, which no record can name.
async fn moved(world: &World, dataset: &Dataset, look: &Look, to: &Location) -> Result<bool> {
    look.recover(world, dataset).await?;
    let Some(table) = &look.table else { return Ok(false) };
    let Some(version) = table.version_id() else { return Ok(false) };
    let sent = world.catalog.update(&dataset.table.database, glue::moved(table, to), version).await;
    // As in every flip, only Location tells.
    if look::live(world, dataset).await?.location(&dataset.home).as_ref() == Some(to) {
        return Ok(true);
    }
    sent.map(|_| false)
}

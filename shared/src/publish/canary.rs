//! The canary: one question on the real table after a flip, and the way back when its answer is not true.

use tracing::{error, warn};
use ulid::Ulid;

use super::{
    ATTEMPTS, Cause, Ended, Look, Outcome, Scanned, ask, busy, look, manifest,
    swap::{next_table, swap},
};
use crate::{environment::World, publish::refuse_swept};
use turntable_core::{
    audit::Question,
    config::Dataset,
    decision::Live,
    error::Result,
    layout::{Generation, Location},
    manifest::Manifest,
    record::{self, By, Canary, Flip},
    table::TableChange,
};

/// What the record of a flip says of its canary before it was asked.
pub fn pending(dataset: &Dataset) -> Option<Canary> {
    dataset.checks.canary.as_ref().map(|_| Canary::Pending)
}

/// What a canary says.
pub enum Answered {
    Passed,
    /// Nobody answered: the flip stands, and the canary stays pending.
    NotAsked(String),
    Failed(String),
}

/// Asks the canary of a flip, if it is pending. A flip that died before its canary is found with a pending record, and
/// asked about then.
pub async fn ask(
    world: &World,
    dataset: &Dataset,
    (ulid, flip): (Ulid, Flip),
) -> Result<Option<(Answered, Option<Scanned>)>> {
    let Some(sql) = dataset.checks.canary.as_ref().filter(|_| flip.canary == Some(Canary::Pending)) else {
        return Ok(None);
    };
    let question = Question::truth("canary", sql, &dataset.table);
    let answer = match ask::ask(world, &dataset.table.database, &question).await {
        Ok(answer) => answer,
        Err(failure) => {
            error!(dataset = dataset.name, error = failure.report(), "canary not asked: the flip stands");
            let told = format!("{}: not asked, the flip stands: {}", question.check, failure.message());
            return Ok(Some((Answered::NotAsked(told), None)));
        }
    };
    let answered = match answer.reason {
        Some(reason) => Answered::Failed(reason),
        None => {
            passed(world, dataset, ulid, flip).await;
            Answered::Passed
        }
    };
    Ok(Some((answered, answer.scanned)))
}

/// Asks the canary of a flip, if it is pending, and goes back if its answer is not true.
pub async fn settle(
    world: &World,
    dataset: &Dataset,
    candidate: &Manifest,
    (ulid, flip): (Ulid, Flip),
    mut ended: Ended,
) -> Result<Ended> {
    let from = flip.from.clone();
    let Some((answered, scanned)) = ask(world, dataset, (ulid, flip)).await? else { return Ok(ended) };
    ended.checks.extend(scanned);
    let reason = match answered {
        Answered::Passed => return Ok(ended),
        Answered::NotAsked(told) => {
            ended.reasons.push(told);
            return Ok(ended);
        }
        Answered::Failed(reason) => reason,
    };
    let (live, told) = back(world, dataset, candidate.generation, from.as_ref(), &reason).await?;
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
    let cause = Cause { by: By::Canary, why: Some(why.into()) };
    for _ in 0..ATTEMPTS {
        let oldest = before.generation().into_iter().chain([failed]).min_by_key(|generation| generation.ulid);
        let look = Look::at(world, dataset, &oldest.unwrap_or(failed)).await?;
        if look.state.live != Live::Ours(failed) {
            return Ok((look.state.live, format!("canary: {failed} was replaced meanwhile")));
        }
        if let Some(hold) = &look.state.hold {
            let told = format!("canary: {failed} stays live: a hold is on: {}", hold.reason);
            return Ok((look.state.live, told));
        }
        match return_to(world, dataset, look, &before, &cause).await? {
            Returned::There(told) => return Ok((before, format!("canary: the table went back to {told}"))),
            Returned::Stays(why) => return Ok((Live::Ours(failed), format!("canary: {failed} stays live: {why}"))),
            Returned::LookAgain => {}
        }
    }
    Err(busy(dataset))
}

/// What has become of a table that was to go back.
pub enum Returned {
    /// Where it is now, in words.
    There(String),
    /// Why it cannot go back.
    Stays(String),
    /// Somebody else was faster.
    LookAgain,
}

/// Takes the table of a look back to where it was before a flip.
pub async fn return_to(world: &World, dataset: &Dataset, look: Look, before: &Live, cause: &Cause) -> Result<Returned> {
    match before {
        // A table that readers may have found is not deleted: only sweep may delete.
        Live::NoTable => Ok(Returned::Stays("there was no table before to go back to".into())),
        Live::Ours(generation) => {
            refuse_swept(world, dataset, generation).await?;
            let Some(target) = manifest(world, dataset, generation).await? else {
                return Ok(Returned::Stays(format!("{generation} has been swept")));
            };
            // Columns that the flip has changed go back with it.
            let input = next_table(dataset, &look, &target, dataset.schema.back());
            let swapped = swap(world, dataset, &target, look, input, cause).await?;
            Ok(swapped.map_or(Returned::LookAgain, |_| Returned::There(generation.to_string())))
        }
        // Its ranges and its template are on no record.
        Live::Foreign(location) if !dataset.partition_by.is_empty() => {
            Ok(Returned::Stays(format!("before it was {location}, of whose partitions there is no record")))
        }
        Live::Foreign(location) => {
            let moved = moved(world, dataset, &look, location).await?;
            let told = format!("{location}, which is none of ours: the next flip takes an operator's request");
            Ok(if moved { Returned::There(told) } else { Returned::LookAgain })
        }
    }
}

/// Moves the table to a location of somebody else's, which no record can name.
async fn moved(world: &World, dataset: &Dataset, look: &Look, to: &Location) -> Result<bool> {
    look.recover(world, dataset).await?;
    let Some(table) = &look.table else { return Ok(false) };
    if table.token.is_none() {
        return Ok(false);
    }
    let sent = world.catalog.update(table, &TableChange::location(to)).await;
    // As in every flip, only Location tells.
    if look::live(world, dataset).await?.location(&dataset.home).as_ref() == Some(to) {
        return Ok(true);
    }
    sent.map(|_| false)
}

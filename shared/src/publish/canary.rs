//! Runs the canary, which is one query on the live table after a flip. If its answer is not true, flips the table back.

use tracing::{error, warn};
use ulid::Ulid;

use super::{
    attempts::Attempts,
    commit::{commit, next_table},
    manifests::{manifest, manifest_at},
    report::{Cause, FlipReport, Outcome},
    sql_checks::{self, Scanned},
    table_state::{self, TableState, ensure_not_deleting},
};
use crate::environment::Environment;
use turntable_core::{
    audit::Question,
    config::Dataset,
    decision::Live,
    error::Result,
    layout::{Generation, Location, TablePaths},
    manifest::Manifest,
    record::{self, Canary, Flip, FlipOrigin},
    table::TableChange,
};

/// The result of a canary.
pub enum Answered {
    Passed,
    /// Athena didn't answer, so the flip isn't undone and the canary stays pending. Has a message that says why.
    NotAsked(String),
    /// The answer was not true, or the query itself failed. Has the reason.
    Failed(String),
}

/// Runs a flip's canary if it is pending, and records it as passed if it passes. Returns the result and the number of
/// bytes that the query scanned, or `None` if no canary is pending.
///
/// A process that dies between a flip and its canary leaves the canary pending, so the redelivered event runs it.
pub async fn ask(
    env: &Environment,
    dataset: &Dataset,
    (ulid, flip): (Ulid, Flip),
) -> Result<Option<(Answered, Option<Scanned>)>> {
    let Some(sql) = dataset.checks.canary.as_ref().filter(|_| flip.canary == Some(Canary::Pending)) else {
        return Ok(None);
    };
    let question = Question::truth("canary", sql, &dataset.table);
    let answer = match sql_checks::ask(env, &dataset.table.database, &question).await {
        Ok(answer) => answer,
        Err(failure) => {
            error!(dataset = dataset.name, error = failure.report(), "canary not run, the flip stands");
            let message = format!("{}: not run, the flip stands: {}", question.check, failure.message());
            return Ok(Some((Answered::NotAsked(message), None)));
        }
    };
    let answered = match answer.reason {
        Some(reason) => Answered::Failed(reason),
        None => {
            record_passed(env, dataset, ulid, flip).await;
            Answered::Passed
        }
    };
    Ok(Some((answered, answer.scanned)))
}

/// Runs a flip's canary if it is pending, and flips the table back if the canary fails. Returns `ended`, the flip's
/// report, with the result added.
pub async fn settle(
    env: &Environment,
    dataset: &Dataset,
    candidate: &Manifest,
    (ulid, flip): (Ulid, Flip),
    mut ended: FlipReport,
) -> Result<FlipReport> {
    let from = flip.from.clone();
    let Some((answered, scanned)) = ask(env, dataset, (ulid, flip)).await? else { return Ok(ended) };
    ended.checks.extend(scanned);
    let reason = match answered {
        Answered::Passed => return Ok(ended),
        Answered::NotAsked(message) => {
            ended.reasons.push(message);
            return Ok(ended);
        }
        Answered::Failed(reason) => reason,
    };
    let (live, message) = flip_back(env, dataset, candidate.generation, from.as_ref(), &reason).await?;
    let previous = (live != ended.live).then_some(ended.live);
    Ok(FlipReport { outcome: Outcome::Rejected, live, previous, reasons: vec![reason, message], checks: ended.checks })
}

async fn record_passed(env: &Environment, dataset: &Dataset, ulid: Ulid, flip: Flip) {
    let key = dataset.paths.flip(ulid);
    let flip = Flip { canary: Some(Canary::Passed), ..flip };
    if let Err(error) = env.objects.put(&key, record::to_json(&flip).into()).await {
        // A redelivered event runs the canary again.
        warn!(dataset = dataset.name, key = %key, error = error.report(), "canary passed, but not recorded");
    }
}

/// Moves the table back to where it was before the flip to `failed`, if `failed` is still live and there is no hold.
/// Returns what is live now, and a message about what was done.
async fn flip_back(
    env: &Environment,
    dataset: &Dataset,
    failed: Generation,
    from: Option<&Location>,
    why: &str,
) -> Result<(Live, String)> {
    let before = Live::of(&dataset.paths, from);
    let cause = Cause { by: FlipOrigin::Canary, why: Some(why.into()), request_id: env.request_id() };
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let oldest = before.generation().into_iter().chain([failed]).min_by_key(|generation| generation.ulid);
        let loaded = TableState::at(env, dataset, &oldest.unwrap_or(failed)).await?;
        if loaded.state.live != Live::Managed(failed) {
            return Ok((loaded.state.live, format!("canary: {failed} has been replaced since")));
        }
        if let Some(hold) = &loaded.state.hold {
            let message = format!("canary: {failed} stays live because of a hold: {}", hold.reason);
            return Ok((loaded.state.live, message));
        }
        match return_to(env, dataset, loaded, &before, &cause).await? {
            Returned::There(place) => return Ok((before, format!("canary: the table was flipped back to {place}"))),
            Returned::Stays(why) => return Ok((Live::Managed(failed), format!("canary: {failed} stays live: {why}"))),
            Returned::LookAgain => {}
        }
    }
}

/// The result of moving a table back.
pub enum Returned {
    /// The table was moved back. Has a description of where it is now.
    There(String),
    /// The table can't be moved back. Has the reason.
    Stays(String),
    /// Another writer was first: reload and retry.
    LookAgain,
}

/// Moves the table back to `before`, which was live before a flip.
pub async fn return_to(
    env: &Environment,
    dataset: &Dataset,
    loaded: TableState,
    before: &Live,
    cause: &Cause,
) -> Result<Returned> {
    match before {
        // The table isn't dropped, because readers may already use it.
        Live::NoTable => Ok(Returned::Stays("there was no table before this flip".into())),
        Live::Managed(generation) => {
            ensure_not_deleting(env, dataset, generation).await?;
            let Some(target) = manifest(env, dataset, generation).await? else {
                return Ok(Returned::Stays(format!("{generation} has been swept")));
            };
            // This also restores columns that the flip changed.
            let input = next_table(dataset, &loaded, &target, dataset.schema.back());
            let swapped = commit(env, dataset, &target, loaded, input, cause).await?;
            Ok(swapped.map_or(Returned::LookAgain, |_| Returned::There(generation.to_string())))
        }
        // An unmanaged table's partition ranges and location template aren't recorded anywhere.
        Live::Unmanaged(location) if !dataset.partition_by.is_empty() => Ok(Returned::Stays(format!(
            "it was at {location} before, and no record has the partitions of that location"
        ))),
        // Whoever can write records could otherwise make any location live, without an audit.
        Live::Unmanaged(location) if TablePaths::of_generation(location).is_none() && !dataset.trusts(location) => {
            Ok(Returned::Stays(format!(
                "the record says that it was at {location} before, which is not in the table's folder: to allow the way \
                 back, set adopt = \"{location}\" in the dataset"
            )))
        }
        // A renamed table reads its earlier name's folder until its next flip, and then sweep deletes that folder.
        Live::Unmanaged(location)
            if TablePaths::of_generation(location).is_some() && manifest_at(env, location).await?.is_none() =>
        {
            Ok(Returned::Stays(format!("{location} has been swept")))
        }
        Live::Unmanaged(location) => {
            let moved = move_to_unmanaged(env, dataset, &loaded, location).await?;
            let place = format!("{location}, which is unmanaged: to flip again, invoke flip with a generation");
            Ok(if moved { Returned::There(place) } else { Returned::LookAgain })
        }
    }
}

/// Moves the table to an unmanaged location. Writes no flip record, because a record's target is always a generation.
/// Returns `false` if another writer was first: reload and retry.
async fn move_to_unmanaged(env: &Environment, dataset: &Dataset, loaded: &TableState, to: &Location) -> Result<bool> {
    loaded.recover(env, dataset).await?;
    let Some(table) = &loaded.table else { return Ok(false) };
    if table.token.is_none() {
        return Ok(false);
    }
    let sent = env.catalog.update(table, &TableChange::location(to)).await;
    // As in every flip, only Location shows whether the update was made.
    if table_state::live(env, dataset).await?.location(&dataset.paths).as_ref() == Some(to) {
        return Ok(true);
    }
    sent.map(|_| false)
}

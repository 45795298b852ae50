//! Reads and updates the record of a dataset's refreshes. It ensures that each due time starts one run, and that only
//! one run is in progress at a time. See [`turntable_core::refresh::Record`].

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tracing::{info, warn};
use turntable_core::{
    config::{Dataset, Refresh},
    error::{Error, Result},
    layout::{Key, TablePaths, time_of},
    port::Put,
    record,
    refresh::{Claim, Next, Record, Running},
};

use super::{environment::Export, unread};
use crate::{environment::Environment, inputs};

/// How many times to try to update the record if other invocations change it at the same time.
const MAX_ATTEMPTS: usize = 10;

/// Why a dataset is due.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// Its own schedules made it due at this time.
    Due(Timestamp),
    /// Its inputs may have flipped since it was built.
    Inputs,
    /// Its source may have objects that it wasn't built from.
    Put,
}

/// What the handler of a message about a due dataset must do.
pub(super) enum Claimed {
    Run(Running),
    /// Check again after this time.
    Wait(Duration),
    /// The last put has not settled yet. Send another message that is delivered after this time.
    Settle(Duration),
    Nothing,
}

/// The result of noting a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// A message must be sent for the put.
    First,
    /// A message that is on its way, or the run that follows the one in progress, serves the put.
    Known,
}

/// Notes that an object was put into the dataset's source.
pub(super) async fn note_put(env: &Environment, dataset: &Dataset) -> Result<Noted> {
    let settle = dataset.refresh.as_ref().map(Refresh::settle).unwrap_or_default();
    for _ in 0..MAX_ATTEMPTS {
        let (stored, now) = (Stored::read(env, dataset).await?, env.clock.now());
        let is_first = stored.record.put.is_none() && stored.record.in_progress(now).is_none();
        let noted = if is_first { Noted::First } else { Noted::Known };
        match stored.record.with_put(settle, now) {
            Some(next) if !stored.replace(env, &next).await? => {}
            _ => return Ok(noted),
        }
    }
    Err(changing(dataset))
}

fn changing(lead: &Dataset) -> Error {
    Error::conflict(format!("{}: others keep changing {}: invoke the function again", lead.name, lead.paths.refresh()))
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ended {
    Well,
    Failed,
    /// An earlier engine run is still in progress. The due time waits until it ends.
    Postponed,
}

/// Claims the run for a due dataset, or for its group if `lead` is a group's first member.
pub(super) async fn claim(env: &Environment, lead: &Dataset, why: Why) -> Result<Claimed> {
    for _ in 0..MAX_ATTEMPTS {
        let stored = Stored::read(env, lead).await?;
        if settle_dead(env, lead, &stored).await? {
            continue;
        }
        let claim = match why {
            Why::Due(due) => stored.record.claim(due, env.clock.now()),
            // The inputs are read after the record, because a run that ends in between makes the record stale.
            Why::Inputs if inputs::is_due(env, lead).await? => stored.record.claim_after_inputs(env.clock.now()),
            Why::Inputs => Claim::Done,
            Why::Put => match claim_after_puts(env, lead, &stored).await? {
                Some(claim) => claim,
                None => continue,
            },
        };
        match claim {
            Claim::Run(next) => {
                if stored.replace(env, &next).await? {
                    return Ok(next.running.map_or(Claimed::Nothing, Claimed::Run));
                }
            }
            Claim::After(next) => {
                if stored.replace(env, &next).await? {
                    info!(dataset = lead.name, ?why, "a run is in progress, and another follows it");
                    return Ok(Claimed::Nothing);
                }
            }
            Claim::Wait(time) => return Ok(Claimed::Wait(Duration::try_from(time).unwrap_or_default())),
            Claim::Settle(time) => return Ok(Claimed::Settle(Duration::try_from(time).unwrap_or_default())),
            Claim::Done => {
                info!(dataset = lead.name, ?why, "nothing is due");
                return Ok(Claimed::Nothing);
            }
        }
    }
    Err(changing(lead))
}

/// Decides what to do about puts. Returns `None` if the record must be read again.
async fn claim_after_puts(env: &Environment, lead: &Dataset, stored: &Stored) -> Result<Option<Claim>> {
    let settle = lead.refresh.as_ref().map(Refresh::settle).unwrap_or_default();
    let claim = stored.record.claim_after_puts(settle, env.clock.now());
    if !matches!(claim, Claim::Run(_)) {
        return Ok(Some(claim));
    }
    let read = stored.record.without_puts(env.clock.now());
    // Listed after the record was read: a put that comes in between makes the record stale.
    if unread::is_unread(env, lead, read.is_some()).await? {
        return Ok(Some(claim));
    }
    Ok(match read {
        Some(next) if !stored.replace(env, &next).await? => None,
        _ => Some(Claim::Done),
    })
}

/// If the recorded run died after it had written its manifest, records its end, so that its due time isn't exported
/// again. Returns whether the record must be read again.
async fn settle_dead(env: &Environment, lead: &Dataset, stored: &Stored) -> Result<bool> {
    let Some(dead) = stored.record.running.as_ref().filter(|running| running.until <= env.clock.now()) else {
        return Ok(false);
    };
    if !is_complete(env, lead, dead).await? {
        return Ok(false);
    }
    let Some(ended) = stored.record.ended(dead) else { return Ok(false) };
    info!(dataset = lead.name, due = ?dead.due, "the run died after it had written its manifest");
    stored.replace(env, &ended).await?;
    Ok(true)
}

/// Returns whether the run has written its manifest.
async fn is_complete(env: &Environment, lead: &Dataset, running: &Running) -> Result<bool> {
    // The first member's manifest doesn't mean that the group is complete.
    if lead.group.is_some() {
        return Ok(false);
    }
    let listed = env.objects.list(&lead.paths.manifests(), None).await?;
    let mut complete = listed.iter().filter_map(|entry| TablePaths::parse_manifest(&entry.key));
    Ok(complete.any(|(_, generation)| time_of(generation.ulid) >= running.since))
}

/// Records how a run ended, and queues the run that waits for it. If this fails, it is only logged, because the run
/// itself has ended; the record stops blocking other runs when the run counts as dead.
pub(super) async fn end(export: &Export, lead: &Dataset, running: &Running, ended: Ended) {
    if let Err(error) = try_end(export, lead, running, ended).await {
        warn!(dataset = lead.name, error = error.report(), "the end of a run was not recorded");
    }
}

async fn try_end(export: &Export, lead: &Dataset, running: &Running, ended: Ended) -> Result<()> {
    let ended = match ended {
        // The answer to the manifest's request was lost. The retry must not export again.
        Ended::Failed if is_complete(&export.env, lead, running).await.unwrap_or(false) => Ended::Well,
        ended => ended,
    };
    for _ in 0..MAX_ATTEMPTS {
        let stored = Stored::read(&export.env, lead).await?;
        let next = match ended {
            Ended::Well => stored.record.ended(running),
            Ended::Failed => stored.record.failed(running),
            Ended::Postponed => stored.record.postponed(running),
        };
        let Some(next) = next else { return Ok(()) };
        if stored.replace(&export.env, &next).await? {
            return match ended {
                Ended::Well => queue(export, lead, &next).await,
                // The retry also serves the run that waits.
                Ended::Failed | Ended::Postponed => Ok(()),
            };
        }
    }
    Err(changing(lead))
}

/// Queues the run that waited for a run that has ended or failed for good. A failure is only logged, because the next
/// due time makes up for it.
pub(super) async fn follow(export: &Export, lead: &Dataset) {
    if lead.refresh.as_ref().is_none_or(Refresh::is_manual) {
        return;
    }
    let followed = async {
        for _ in 0..MAX_ATTEMPTS {
            let stored = Stored::read(&export.env, lead).await?;
            match stored.record.given_up() {
                Some(next) if !stored.replace(&export.env, &next).await? => {}
                Some(next) => return queue(export, lead, &next).await,
                None => return queue(export, lead, &stored.record).await,
            }
        }
        Err(changing(lead))
    };
    if let Err(error) = followed.await {
        warn!(dataset = lead.name, error = error.report(), "the run that waits was not queued");
    }
}

async fn queue(export: &Export, lead: &Dataset, record: &Record) -> Result<()> {
    let settle = lead.refresh.as_ref().map(Refresh::settle).unwrap_or_default();
    let body = match record.follows(settle, export.env.clock.now()) {
        Some(Next::Due(due)) => json!({ "dataset": lead.name, "due": due }),
        Some(Next::Inputs) => json!({ "dataset": lead.name, "inputs": true }),
        Some(Next::Put(after)) => {
            return export.queue.send_later(unread::message(&lead.name), after.try_into().unwrap_or_default()).await;
        }
        None => return Ok(()),
    };
    export.queue.send(vec![body.to_string()]).await
}

/// The record in S3, as it was read.
struct Stored {
    key: Key,
    /// `None` if there is no record yet.
    etag: Option<String>,
    record: Record,
}

impl Stored {
    async fn read(env: &Environment, lead: &Dataset) -> Result<Stored> {
        let key = lead.paths.refresh();
        let Some((json, etag)) = env.objects.get_with_etag(&key).await? else {
            return Ok(Stored { key, etag: None, record: Record::default() });
        };
        Ok(Stored { record: record::from_json(&key, &json)?, key, etag: Some(etag) })
    }

    /// Replaces the record. Returns `false` if it has changed since it was read.
    async fn replace(&self, env: &Environment, with: &Record) -> Result<bool> {
        let json = record::to_json(with).into();
        match &self.etag {
            Some(etag) => env.objects.replace(&self.key, etag, json).await,
            None => Ok(env.objects.put_new(&self.key, json).await? == Put::Created),
        }
    }
}

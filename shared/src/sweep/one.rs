//! Sweeps one dataset.

use jiff::Timestamp;
use serde_json::json;
use tracing::{info, warn};
use turntable_core::{
    config::{Dataset, Source},
    decision::Live,
    error::{Error, Result},
    layout::time_of,
    record::ExportFailure,
    sweep::{Plan, plan},
};

use super::{
    act::{Budget, act},
    archive::{Archived, archivable, archive},
    contents::{TableContents, abandoned_uploads, load},
    environment::Sweep,
    readers::Readers,
    report::Report,
};
use crate::{
    catalog::Tables,
    environment::Environment,
    export::unread,
    inputs,
    publish::{
        self, Attempts, FlipReport, Outcome, identity, published,
        verify::{Differences, verify},
    },
};

/// The state that all datasets share in one invocation.
pub(super) struct Round<'a> {
    pub sweep: &'a Sweep,
    pub now: Timestamp,
    pub dry_run: bool,
    pub budget: Budget,
    pub readers: Readers,
    /// The tables in all configured databases.
    pub tables: Tables,
}

/// Compares the live table and its files with what was published. Unless this is a dry run, repairs drift if the
/// dataset allows it. Returns one message for each fault.
async fn verify_and_repair(
    env: &Environment,
    dataset: &Dataset,
    loaded: &TableContents,
    dry_run: bool,
) -> Result<Vec<String>> {
    let suspected = publish::drift_suspected(dataset, &loaded.state.live, &loaded.state.flips);
    let Differences { edited, damaged } =
        verify(env, dataset, loaded.table.as_ref(), loaded.live_manifest.as_ref()).await?;
    let mut found = Vec::new();
    if dry_run {
        if suspected {
            found.extend(publish::detect_drift(env, dataset).await?.map(|drift| drift.told(dataset)));
        }
        found.extend(edited.into_iter().chain(damaged));
        return Ok(found);
    }
    found.extend(Box::pin(publish::group::finish(env, dataset)).await?);
    if suspected || edited.is_some() {
        found.extend(publish::detect_and_repair(env, dataset).await?.map(told));
    }
    // A repair may have moved the table to another generation.
    if damaged.is_some() || !found.is_empty() {
        found.extend(publish::verify_files(env, dataset).await?.map(told));
    }
    if let (Some(table), Some((_, last))) = (&loaded.table, loaded.state.flips.last())
        && loaded.state.live == Live::Managed(last.to)
    {
        found.extend(publish::column_statistics::delete_old(env, dataset, table, last).await);
    }
    let other = match &loaded.state.live {
        Live::Managed(_) => {
            // The flip that moved the table to this folder may have died before it wrote the record.
            let before = loaded.state.flips.iter().find_map(|(_, flip)| {
                let from = flip.from.as_ref()?;
                dataset.paths.parse_generation(from).is_none().then_some(from)
            });
            identity::write(env, dataset, before).await?
        }
        Live::NoTable | Live::Unmanaged(_) => identity::other_stack(env, &dataset.paths).await?,
    };
    found.extend(other.map(|other| identity::other_stack_message(dataset, &other)));
    Ok(found)
}

fn told(report: FlipReport) -> String {
    let repaired = if report.outcome == Outcome::Committed { "; repaired" } else { "" };
    report.reasons.join("; ") + repaired
}

/// The number of races lost to other writers of the table after which a dataset's sweep fails. The next sweep tries
/// again.
const MAX_ATTEMPTS: u32 = 4;

/// Sweeps one dataset: load → plan → act. Returns a message about drift, if any, and the report.
pub(super) async fn sweep_one(round: &Round<'_>, dataset: &Dataset) -> Result<(Option<String>, Report)> {
    let Round { sweep, now, dry_run, ref budget, ref readers, ref tables } = *round;
    let env = &sweep.env;
    let mut drift = None;
    let mut attempts = Attempts::on(&dataset.table).at_most(MAX_ATTEMPTS);
    loop {
        attempts.begin()?;
        let mut loaded = load(env, dataset, &tables.listed).await?;
        if attempts.lost() == 0 && !dry_run {
            queue_pending_runs(sweep, dataset, &loaded).await?;
            queue_after_inputs(sweep, dataset).await?;
            queue_after_puts(sweep, dataset).await?;
        }
        if attempts.lost() == 0 {
            let found = verify_and_repair(env, dataset, &loaded, dry_run).await?;
            if !found.is_empty() {
                (drift, loaded) = (Some(found.join("; ")), load(env, dataset, &tables.listed).await?);
            }
        }
        let oldest_query = readers.oldest_query(dataset, &loaded.state).await?;
        let plan = match plan(&dataset.paths, &loaded.state, &dataset.retain, &oldest_query, now) {
            Ok(plan) => plan,
            Err(reason) => return Ok((drift, Report::skipped(dataset, now, &loaded, reason))),
        };
        if let Some(error) = tables.failed.get(&dataset.table.database) {
            let text = format!("it is unknown which tables in {} read its files", dataset.table.database);
            return Err(Error::new(error.kind(), text).caused_by(Error::new(error.kind(), error.report())));
        }
        let uploads = abandoned_uploads(&loaded.uploads, &dataset.retain, now);
        if dry_run {
            let report = Report::planned(dataset, now, &loaded, &plan, &uploads);
            let archived = archive_drops(env, dataset, &loaded, &plan, now, None).await?;
            return Ok((drift, report.with_archived(dataset, archived)));
        }
        // This happens before anything is deleted or archived, because the record must name a generation that stays.
        if let Some(reason) = record_published(env, dataset, &loaded).await? {
            return Ok((drift, Report::skipped(dataset, now, &loaded, reason)));
        }
        if let Some(done) = act(env, dataset, &loaded, &plan, &uploads, budget).await? {
            let archived = match done.more {
                true => Archived::default(),
                false => archive_drops(env, dataset, &loaded, &plan, now, Some(budget)).await?,
            };
            let report = Report::done(dataset, now, &loaded, &plan, &uploads, &done).with_archived(dataset, archived);
            return Ok((drift, report));
        }
    }
}

/// Records what an inbox has published. If live lacks some of it, returns why the dataset must not be swept.
async fn record_published(env: &Environment, dataset: &Dataset, loaded: &TableContents) -> Result<Option<String>> {
    let (Source::Inbox(inbox), Some(live)) = (&dataset.source, &loaded.live_manifest) else { return Ok(None) };
    if live.merge.is_none() || published::write(env, dataset, inbox, live).await? {
        return Ok(None);
    }
    let reason = "the live table lacks opt-outs that the inbox has published: the next refresh merges them";
    warn!(dataset = dataset.name, "{reason}");
    Ok(Some(reason.into()))
}

/// Sends `export` a message for each unsettled engine run, because the run's end event may have been lost.
async fn queue_pending_runs(sweep: &Sweep, dataset: &Dataset, loaded: &TableContents) -> Result<()> {
    let body = |generation| json!({ "dataset": dataset.name, "generation": generation }).to_string();
    let bodies: Vec<String> = loaded.state.pending().map(body).collect();
    if bodies.is_empty() {
        return Ok(());
    }
    info!(dataset = dataset.name, runs = bodies.len(), "pending");
    sweep.queue.send(bodies).await
}

/// Sends `export` a message for a dataset whose inputs have flipped since it was built, because the flips' events may
/// have been lost. If an export has failed for good since the inputs flipped, sends nothing: the dataset waits for the
/// inputs' next flip or for a person. A filtered table doesn't wait, because people who opted out are still in it.
async fn queue_after_inputs(sweep: &Sweep, dataset: &Dataset) -> Result<()> {
    if !inputs::is_due(&sweep.env, dataset).await? {
        return Ok(());
    }
    let failure: Option<ExportFailure> = sweep.env.record(&dataset.paths.export_failure()).await?;
    let newest = inputs::live(&sweep.env, dataset).await?.into_values().map(|input| time_of(input.ulid)).max();
    let waits = dataset.filters.is_none();
    if waits
        && failure.is_some_and(|failure| failure.retry_at.is_none() && newest.is_none_or(|newest| newest < failure.at))
    {
        return Ok(());
    }
    info!(dataset = dataset.name, "inputs have flipped");
    sweep.queue.send(vec![json!({ "dataset": dataset.name, "inputs": true }).to_string()]).await
}

/// Sends `export` a message for a dataset with `on_put`, because a put's event may have been lost. `export` then
/// compares the source with what was read, because only its role may read the source's bucket.
async fn queue_after_puts(sweep: &Sweep, dataset: &Dataset) -> Result<()> {
    match dataset.files_on_put() {
        Some(_) => sweep.queue.send(vec![unread::message(&dataset.name)]).await,
        None => Ok(()),
    }
}

/// Moves drops that have been in the table for longer than `drain` from the inbox to the archive. In a dry run, in
/// which there is no budget, only counts them.
async fn archive_drops(
    env: &Environment,
    dataset: &Dataset,
    loaded: &TableContents,
    plan: &Plan,
    now: Timestamp,
    budget: Option<&Budget>,
) -> Result<Archived> {
    let Source::Inbox(inbox) = &dataset.source else { return Ok(Archived::default()) };
    let drops = archivable(env, dataset, inbox, loaded, plan, now).await?;
    match budget {
        Some(budget) => archive(env, inbox, drops, budget).await,
        None => {
            let bytes = drops.iter().map(|(_, entry)| entry.size).sum();
            Ok(Archived { drops: drops.len() as u64, bytes, more: false })
        }
    }
}

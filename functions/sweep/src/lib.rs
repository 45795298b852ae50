//! `sweep`: deletes unreachable generations, and says what it keeps and why.

mod readers;
mod report;
mod response_limit;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tracing::{error, info};
use turntable::{
    answer::{Item, Skipped, Swept},
    config::{Dataset, Source},
    environment::Environment,
    error::{Error, Kind, Result},
    port::Queue,
    publish::{self, Outcome},
    request,
    sweep::{self, Archived, Budget, Plan, TableContents, act, loaded, plan},
};

use readers::Readers;
use report::Report;

/// The clients and the limits of `sweep`.
#[derive(Clone)]
pub struct Sweep {
    pub env: Environment,
    /// The queue of `export`, for requests to check pending runs of engines.
    pub queue: Arc<dyn Queue>,
    pub limits: Limits,
}

/// The limits of one invocation. The next invocation continues.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// No dataset and no deletion is begun after this time.
    pub time: SignedDuration,
    /// The largest number of objects of generations to delete.
    pub objects: usize,
}

impl Default for Limits {
    /// Limits the time to 12 minutes, because the template's timeout is 15 minutes.
    fn default() -> Self {
        Limits { time: SignedDuration::from_mins(12), objects: 1_000_000 }
    }
}

/// Sweeps the datasets independently of each other, and fails at the end if one could not be swept.
pub async fn handle(sweep: Sweep, event: Value) -> Result<Swept> {
    let request = request::Sweep::parse(&event)?;
    let config = sweep.env.config().await?;
    let datasets = match &request.dataset {
        Some(name) => vec![config.dataset(name)?],
        None => config.datasets().collect(),
    };
    let (swept, failures) = all(&sweep, &datasets, request.dry_run).await;
    match failures.into_iter().max_by_key(|(_, failure)| urgency(failure.kind())) {
        Some((_, failure)) if !request.dry_run => Err(failed(&swept, failure)),
        _ => Ok(response_limit::fit(swept)),
    }
}

/// Sweeps the datasets. Returns the answer, and the errors of datasets or databases that could not be swept.
pub async fn all(sweep: &Sweep, datasets: &[&Dataset], dry_run: bool) -> (Swept, Vec<(String, Error)>) {
    // All decisions use one time, taken before anything is read, so that no object's age is overestimated.
    let now = sweep.env.clock.now();
    let until = now.checked_add(sweep.limits.time).unwrap_or(Timestamp::MAX);
    let round = Round {
        sweep,
        now,
        dry_run,
        budget: Budget::new(until, sweep.limits.objects),
        readers: Readers::new(sweep.env.query.clone()),
    };
    let (mut swept, mut failures) = sweep_all(&round, &rotated(&sweep.env, datasets)).await;
    swept.notes.extend(round.readers.notes());
    if let Err((database, failure)) = drop_audit_tables(&sweep.env, datasets, now, dry_run, &mut swept).await {
        error!(database, kind = failure.kind().as_str(), error = failure.report(), "audit tables not swept");
        swept.notes.push(format!("{database}: leftover audit tables not swept: {}", failure.report()));
        failures.push((database, failure));
    }
    (swept, failures)
}

/// The state that all datasets of one invocation share.
struct Round<'a> {
    sweep: &'a Sweep,
    now: Timestamp,
    dry_run: bool,
    budget: Budget,
    readers: Readers,
}

/// Returns the datasets rotated by a random number, so that if an invocation is too short for all, it does not always
/// leave out the same ones.
fn rotated<'a>(env: &Environment, datasets: &[&'a Dataset]) -> Vec<&'a Dataset> {
    let mut datasets = datasets.to_vec();
    let first = env.clock.ulid().random() % datasets.len().max(1) as u128;
    datasets.rotate_left(usize::try_from(first).unwrap_or(0));
    datasets
}

/// Sweeps eight datasets at a time. One that hangs or fails does not block the others.
async fn sweep_all(round: &Round<'_>, datasets: &[&Dataset]) -> (Swept, Vec<(String, Error)>) {
    let waiting = Mutex::new(datasets.iter());
    let ended = Mutex::new((Swept { dry_run: round.dry_run, ..Swept::default() }, Vec::new()));
    let worker = async || {
        loop {
            let Some(dataset) = waiting.lock().await.next() else { return };
            if round.budget.objects() == 0 || round.sweep.env.clock.now() >= round.budget.until {
                ended.lock().await.0.more = true;
                return;
            }
            let started = Instant::now();
            // Boxed, because eight of these futures are too large for the stack.
            let result = Box::pin(sweep_one(round, dataset)).await;
            let (swept, failures) = &mut *ended.lock().await;
            match result {
                Ok((drift, report)) => {
                    swept.notes.extend(drift);
                    report.log_and_add(round.now, swept, started.elapsed());
                }
                Err(failure) => {
                    let kind = failure.kind().as_str();
                    error!(dataset = dataset.name, kind, error = failure.report(), "not swept");
                    let reason = failure.report();
                    swept.skipped.push(Skipped { dataset: dataset.name.clone(), reason, error: Some(kind) });
                    failures.push((dataset.name.clone(), failure));
                }
            }
        }
    };
    tokio::join!(worker(), worker(), worker(), worker(), worker(), worker(), worker(), worker());
    let (mut swept, failures) = ended.into_inner();
    for items in [&mut swept.deleted, &mut swept.kept, &mut swept.archived] {
        items.sort_by(|one, other| one.dataset.cmp(&other.dataset));
    }
    swept.skipped.sort_by(|one, other| one.dataset.cmp(&other.dataset));
    (swept, failures)
}

/// Detects drift, and repairs it if the dataset says so and this is no dry run. Returns a message about it.
async fn check_drift(env: &Environment, dataset: &Dataset, dry_run: bool) -> Result<Option<String>> {
    if dry_run {
        return Ok(publish::detect_drift(env, dataset).await?.map(|drift| drift.told(dataset)));
    }
    let Some(ended) = publish::detect_and_repair(env, dataset).await? else { return Ok(None) };
    let repaired = if ended.outcome == Outcome::Committed { "; repaired" } else { "" };
    Ok(Some(ended.reasons.join("; ") + repaired))
}

/// How many times a sweep of one dataset reloads and retries if its table changes meanwhile.
const MAX_ATTEMPTS: usize = 4;

/// Sweeps one dataset: load → plan → act. Returns a message about drift, if any, and the report.
async fn sweep_one(round: &Round<'_>, dataset: &Dataset) -> Result<(Option<String>, Report)> {
    let Round { sweep, now, dry_run, ref budget, ref readers } = *round;
    let env = &sweep.env;
    let mut drift = None;
    for attempt in 0..MAX_ATTEMPTS {
        let mut loaded = loaded(env, dataset).await?;
        if attempt == 0 && !dry_run {
            queue_pending_runs(sweep, dataset, &loaded).await?;
        }
        if drift.is_none() && publish::drift_suspected(dataset, &loaded.state.live, &loaded.state.flips) {
            drift = check_drift(env, dataset, dry_run).await?;
            loaded = self::loaded(env, dataset).await?;
        }
        let oldest_query = readers.oldest_query(dataset, &loaded.state).await?;
        let plan = match plan(&dataset.paths, &loaded.state, &dataset.retain, &oldest_query, now) {
            Ok(plan) => plan,
            Err(reason) => return Ok((drift, Report::skipped(dataset, now, &loaded, reason))),
        };
        let uploads = sweep::abandoned_uploads(&loaded.uploads, &dataset.retain, now);
        if dry_run {
            let report = Report::planned(dataset, now, &loaded, &plan, &uploads);
            let archived = archive_drops(env, dataset, &loaded, &plan, now, None).await?;
            return Ok((drift, report.with_archived(dataset, archived)));
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
    Err(Error::conflict(format!(
        "{}: lost the race for the table {MAX_ATTEMPTS} times: the next sweep tries again",
        dataset.table
    )))
}

/// Queues a message to `export` for every run that is not settled, because the event of its end may have been lost.
async fn queue_pending_runs(sweep: &Sweep, dataset: &Dataset, loaded: &TableContents) -> Result<()> {
    let body = |generation| json!({ "dataset": dataset.name, "generation": generation }).to_string();
    let bodies: Vec<String> = loaded.state.pending().map(body).collect();
    if bodies.is_empty() {
        return Ok(());
    }
    info!(dataset = dataset.name, runs = bodies.len(), "pending");
    sweep.queue.send(bodies).await
}

/// Moves drops that have been in the table for longer than `drain` from the inbox to the archive. Without a budget,
/// only counts them.
async fn archive_drops(
    env: &Environment,
    dataset: &Dataset,
    loaded: &TableContents,
    plan: &Plan,
    now: Timestamp,
    budget: Option<&Budget>,
) -> Result<Archived> {
    let Source::Inbox(inbox) = &dataset.source else { return Ok(Archived::default()) };
    let drops = sweep::archivable(env, dataset, inbox, loaded, plan, now).await?;
    match budget {
        Some(budget) => sweep::archive(env, inbox, drops, budget).await,
        None => {
            let bytes = drops.iter().map(|(_, entry)| entry.size).sum();
            Ok(Archived { drops: drops.len() as u64, bytes, more: false })
        }
    }
}

/// Drops the tables that audits have left behind. The error names the database.
async fn drop_audit_tables(
    env: &Environment,
    datasets: &[&Dataset],
    now: Timestamp,
    dry_run: bool,
    swept: &mut Swept,
) -> Result<(), (String, Error)> {
    let databases: BTreeSet<&String> = datasets.iter().map(|dataset| &dataset.table.database).collect();
    for database in databases {
        let at = |failure| (database.clone(), failure);
        for table in sweep::leftover_audit_tables(env, database, now).await.map_err(at)? {
            if !dry_run {
                env.catalog.delete(&table).await.map_err(at)?;
            }
            swept.deleted.push(Item {
                dataset: String::new(),
                location: table.to_string(),
                reason: "a table that an audit left behind".into(),
                objects: 0,
                bytes: 0,
                until: None,
            });
        }
    }
    Ok(())
}

/// Returns the priority of an error: the invocation fails with the most urgent one.
fn urgency(kind: Kind) -> u8 {
    match kind {
        Kind::Corrupt => 2,
        Kind::Unavailable | Kind::Conflict => 0,
        _ => 1,
    }
}

/// Returns the error of an invocation in which at least one dataset or database could not be swept.
fn failed(swept: &Swept, failure: Error) -> Error {
    let others = swept.skipped.len().saturating_sub(1);
    let kind = failure.kind();
    Error::new(kind, format!("not everything was swept ({others} more datasets not swept, see the log)"))
        .caused_by(failure)
}

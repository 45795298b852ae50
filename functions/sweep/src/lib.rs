//! `sweep`: deletes what nobody can reach any more, and says what it keeps and why.

mod fit;
mod readers;
mod report;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tracing::{error, info};
use turntable::{
    answer::{Item, Skipped, Swept},
    config::{Dataset, Source},
    environment::World,
    error::{Error, Kind, Result},
    port::Queue,
    publish::{self, Outcome},
    request,
    sweep::{self, Archived, Budget, Look, Plan, act, look, plan},
};

use readers::Readers;
use report::Report;

/// What `sweep` runs on.
#[derive(Clone)]
pub struct Sweep {
    pub world: World,
    /// `export`'s: where it is asked to look at engines' runs.
    pub queue: Arc<dyn Queue>,
    pub limits: Limits,
}

/// What one invocation may do. What is left over is the next one's.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nothing is begun after this.
    pub time: SignedDuration,
    /// Objects of generations that are deleted.
    pub objects: usize,
}

impl Default for Limits {
    /// The template gives 15 minutes.
    fn default() -> Self {
        Limits { time: SignedDuration::from_mins(12), objects: 1_000_000 }
    }
}

/// Sweeps every dataset, whatever becomes of the others, and fails in the end if one could not be swept.
pub async fn handle(sweep: Sweep, event: Value) -> Result<Swept> {
    let request = request::Sweep::parse(&event)?;
    let config = sweep.world.config().await?;
    let datasets = match &request.dataset {
        Some(name) => vec![config.dataset(name)?],
        None => config.datasets().collect(),
    };
    let (swept, failures) = all(&sweep, &datasets, request.dry_run).await;
    match failures.into_iter().max_by_key(|(_, failure)| urgency(failure.kind())) {
        Some((_, failure)) if !request.dry_run => Err(failed(&swept, failure)),
        _ => Ok(fit::fit(swept)),
    }
}

/// What was swept, and the datasets that could not be.
pub async fn all(sweep: &Sweep, datasets: &[&Dataset], dry_run: bool) -> (Swept, Vec<(String, Error)>) {
    // One time for all decisions, from before anything is read: what comes later is younger in their eyes.
    let now = sweep.world.clock.now();
    let until = now.checked_add(sweep.limits.time).unwrap_or(Timestamp::MAX);
    let round = Round {
        sweep,
        now,
        dry_run,
        budget: Budget::new(until, sweep.limits.objects),
        readers: Readers::new(sweep.world.query.clone()),
    };
    let (mut swept, mut failures) = many(&round, &elsewhere(&sweep.world, datasets)).await;
    swept.notes.extend(round.readers.notes());
    if let Err((database, failure)) = audit_tables(&sweep.world, datasets, now, dry_run, &mut swept).await {
        error!(database, kind = failure.kind().as_str(), error = failure.report(), "audit tables not swept");
        swept.notes.push(format!("{database}: leftover audit tables not swept: {}", failure.report()));
        failures.push((database, failure));
    }
    (swept, failures)
}

/// What the datasets of one invocation have in common.
struct Round<'a> {
    sweep: &'a Sweep,
    now: Timestamp,
    dry_run: bool,
    budget: Budget,
    readers: Readers,
}

/// The datasets from a random one on, and then those before it: where one invocation is too short for all, none is always
/// the one that is left over.
fn elsewhere<'a>(world: &World, datasets: &[&'a Dataset]) -> Vec<&'a Dataset> {
    let mut datasets = datasets.to_vec();
    let first = world.clock.ulid().random() % datasets.len().max(1) as u128;
    datasets.rotate_left(usize::try_from(first).unwrap_or(0));
    datasets
}

/// Eight datasets at a time. One that hangs or fails holds up no other.
async fn many(round: &Round<'_>, datasets: &[&Dataset]) -> (Swept, Vec<(String, Error)>) {
    let waiting = Mutex::new(datasets.iter());
    let ended = Mutex::new((Swept { dry_run: round.dry_run, ..Swept::default() }, Vec::new()));
    let worker = async || {
        loop {
            let Some(dataset) = waiting.lock().await.next() else { return };
            if round.budget.objects() == 0 || round.sweep.world.clock.now() >= round.budget.until {
                ended.lock().await.0.more = true;
                return;
            }
            let started = Instant::now();
            // Boxed: eight of them are too large for a stack.
            let result = Box::pin(one(round, dataset)).await;
            let (swept, failures) = &mut *ended.lock().await;
            match result {
                Ok((unflip, report)) => {
                    swept.notes.extend(unflip);
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

/// What somebody else has done to the table, in words. It is put right where the dataset says so.
async fn unflipped(world: &World, dataset: &Dataset, dry_run: bool) -> Result<Option<String>> {
    if dry_run {
        return Ok(publish::unflip(world, dataset).await?.map(|unflip| unflip.told(dataset)));
    }
    let Some(ended) = publish::watch(world, dataset).await? else { return Ok(None) };
    let repaired = if ended.outcome == Outcome::Swapped { "; flipped back" } else { "" };
    Ok(Some(ended.reasons.join("; ") + repaired))
}

/// How often a table that changes under the sweep is looked at again.
const ATTEMPTS: usize = 4;

/// Look → plan → act; and what somebody else has done to the table.
async fn one(round: &Round<'_>, dataset: &Dataset) -> Result<(Option<String>, Report)> {
    let Round { sweep, now, dry_run, ref budget, ref readers } = *round;
    let world = &sweep.world;
    let mut seen = None;
    for attempt in 0..ATTEMPTS {
        let mut look = look(world, dataset).await?;
        if attempt == 0 && !dry_run {
            nudge(sweep, dataset, &look).await?;
        }
        if seen.is_none() && publish::suspected(dataset, &look.state.live, &look.state.flips) {
            seen = unflipped(world, dataset, dry_run).await?;
            look = self::look(world, dataset).await?;
        }
        let oldest_query = readers.oldest_query(dataset, &look.state).await?;
        let plan = match plan(&dataset.home, &look.state, &dataset.retain, &oldest_query, now) {
            Ok(plan) => plan,
            Err(reason) => return Ok((seen, Report::skipped(dataset, now, &look, reason))),
        };
        let uploads = sweep::abandoned_uploads(&look.uploads, &dataset.retain, now);
        if dry_run {
            let report = Report::planned(dataset, now, &look, &plan, &uploads);
            let archived = drops(world, dataset, &look, &plan, now, None).await?;
            return Ok((seen, report.with_archived(dataset, archived)));
        }
        if let Some(done) = act(world, dataset, &look, &plan, &uploads, budget).await? {
            let archived = match done.more {
                true => Archived::default(),
                false => drops(world, dataset, &look, &plan, now, Some(budget)).await?,
            };
            let report = Report::done(dataset, now, &look, &plan, &uploads, &done).with_archived(dataset, archived);
            return Ok((seen, report));
        }
    }
    Err(Error::conflict(format!("{}: somebody else changed the table {ATTEMPTS} times meanwhile", dataset.table)))
}

/// The event of a run's end may have been lost: `export` looks at every run that is not settled.
async fn nudge(sweep: &Sweep, dataset: &Dataset, look: &Look) -> Result<()> {
    let body = |generation| json!({ "dataset": dataset.name, "generation": generation }).to_string();
    let bodies: Vec<String> = look.state.pending().map(body).collect();
    if bodies.is_empty() {
        return Ok(());
    }
    info!(dataset = dataset.name, runs = bodies.len(), "pending");
    sweep.queue.send(bodies).await
}

/// Moves drops that are long in the table out of the inbox; without a budget it only says which.
async fn drops(
    world: &World,
    dataset: &Dataset,
    look: &Look,
    plan: &Plan,
    now: Timestamp,
    budget: Option<&Budget>,
) -> Result<Archived> {
    let Source::Inbox(inbox) = &dataset.source else { return Ok(Archived::default()) };
    let drops = sweep::archivable(world, dataset, inbox, look, plan, now).await?;
    match budget {
        Some(budget) => sweep::archive(world, inbox, drops, budget).await,
        None => {
            let bytes = drops.iter().map(|(_, entry)| entry.size).sum();
            Ok(Archived { drops: drops.len() as u64, bytes, more: false })
        }
    }
}

async fn audit_tables(
    world: &World,
    datasets: &[&Dataset],
    now: Timestamp,
    dry_run: bool,
    swept: &mut Swept,
) -> Result<(), (String, Error)> {
    let databases: BTreeSet<&String> = datasets.iter().map(|dataset| &dataset.table.database).collect();
    for database in databases {
        let at = |failure| (database.clone(), failure);
        for table in sweep::leftover_audit_tables(world, database, now).await.map_err(at)? {
            if !dry_run {
                world.catalog.delete(&table).await.map_err(at)?;
            }
            swept.deleted.push(Item {
                dataset: String::new(),
                location: table.to_string(),
                reason: "a table that an audit has left behind".into(),
                objects: 0,
                bytes: 0,
                until: None,
            });
        }
    }
    Ok(())
}

/// Whose error an operator must hear of first.
fn urgency(kind: Kind) -> u8 {
    match kind {
        Kind::Corrupt => 2,
        Kind::Unavailable | Kind::Conflict => 0,
        _ => 1,
    }
}

fn failed(swept: &Swept, failure: Error) -> Error {
    let others = swept.skipped.len().saturating_sub(1);
    let kind = failure.kind();
    Error::new(kind, format!("not everything was swept ({others} more not swept, see the log)")).caused_by(failure)
}

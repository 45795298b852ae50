//! Handles requests to `sweep`.

use std::{collections::BTreeSet, time::Instant};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::Mutex;
use tracing::error;
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Kind, Result},
};
use turntable_events as request;

use super::{
    act::Budget,
    answer::{Item, Skipped, Swept},
    buckets,
    environment::Sweep,
    one::{Round, sweep_one},
    readers::Readers,
    response_limit,
    retired::sweep_retired,
    tables::leftover_audit_tables,
};
use crate::{
    catalog::{self, Tables},
    config_faults,
    environment::Environment,
};

/// Sweeps the requested dataset, or all datasets independently of each other. If any could not be swept, fails at the
/// end, except in a dry run.
pub async fn carry_out(sweep: &Sweep, request: request::Sweep) -> Result<Swept> {
    let config = sweep.env.config().await?;
    config_faults::report(&sweep.env, &config);
    let datasets = match &request.dataset {
        Some(name) => vec![config.dataset(name)?],
        None => config.datasets().collect(),
    };
    let tables = catalog::tables(&sweep.env, &config).await;
    let whole = request.dataset.is_none().then_some(&*config);
    let (mut swept, failures) = all(sweep, (&datasets, whole), tables, request.dry_run).await;
    if let Some(config) = whole {
        swept.notes.extend(buckets::look(&sweep.env, config, request.dry_run).await);
    }
    match failures.into_iter().max_by_key(|(_, failure)| urgency(failure.kind())) {
        Some((name, failure)) if !request.dry_run => Err(failed(&swept, &name, failure)),
        _ => Ok(response_limit::fit(swept)),
    }
}

/// Sweeps the datasets. Returns the answer, and the name and an error for each dataset or database that could not be
/// swept. `tables` are the tables in all configured databases. If the whole configuration is given, also sweeps the
/// folders of retired tables.
pub async fn all(
    sweep: &Sweep,
    (datasets, config): (&[&Dataset], Option<&Config>),
    tables: Tables,
    dry_run: bool,
) -> (Swept, Vec<(String, Error)>) {
    // All decisions use one time, taken before anything is read, so that no object's age is overestimated.
    let now = sweep.env.clock.now();
    let until = now.checked_add(sweep.limits.time).unwrap_or(Timestamp::MAX);
    let round = Round {
        sweep,
        now,
        dry_run,
        budget: Budget::new(until, sweep.limits.objects),
        readers: Readers::new(sweep.env.query.clone()),
        tables,
    };
    let (mut swept, mut failures) = sweep_all(&round, &rotated(&sweep.env, datasets)).await;
    if let Some(config) = config {
        failures.extend(sweep_retired(&round, config, &mut swept).await);
    }
    swept.notes.extend(round.readers.notes());
    if let Err((database, failure)) = drop_audit_tables(&sweep.env, datasets, now, dry_run, &mut swept).await {
        error!(database, kind = failure.kind().as_str(), error = failure.report(), "audit tables not swept");
        swept.notes.push(format!("{database}: leftover audit tables were not swept: {}", failure.report()));
        failures.push((database, failure));
    }
    (swept, failures)
}

/// Rotates the datasets by a random number of places, so that invocations that don't have enough time for all of them
/// don't always leave out the same ones.
fn rotated<'a>(env: &Environment, datasets: &[&'a Dataset]) -> Vec<&'a Dataset> {
    let mut datasets = datasets.to_vec();
    let first = env.clock.ulid().random() % datasets.len().max(1) as u128;
    datasets.rotate_left(usize::try_from(first).unwrap_or(0));
    datasets
}

/// The maximum number of datasets that are swept at the same time.
const MAX_CONCURRENT_DATASETS: usize = 8;

/// Sweeps several datasets concurrently. A dataset that hangs or fails doesn't block the others.
async fn sweep_all(round: &Round<'_>, datasets: &[&Dataset]) -> (Swept, Vec<(String, Error)>) {
    let ended = Mutex::new((Swept { dry_run: round.dry_run, ..Swept::default() }, Vec::new()));
    let sweep = async |dataset: &Dataset| {
        if round.budget.objects() == 0 || round.sweep.env.clock.now() >= round.budget.until {
            ended.lock().await.0.more = true;
            return;
        }
        let started = Instant::now();
        // Boxed, because several of these futures are too large for the stack.
        let result = Box::pin(sweep_one(round, dataset)).await;
        let (swept, failures) = &mut *ended.lock().await;
        match result {
            Ok((drift, report)) => {
                swept.notes.extend(drift);
                report.log_and_add(round.now, &round.sweep.limits, swept, started.elapsed());
            }
            Err(failure) => {
                let kind = failure.kind().as_str();
                error!(dataset = dataset.name, kind, error = failure.report(), "not swept");
                let reason = failure.report();
                swept.skipped.push(Skipped { dataset: dataset.name.clone(), reason, error: Some(kind) });
                failures.push((dataset.name.clone(), failure));
            }
        }
    };
    stream::iter(datasets).for_each_concurrent(MAX_CONCURRENT_DATASETS, |dataset| sweep(dataset)).await;
    let (mut swept, failures) = ended.into_inner();
    for items in [&mut swept.deleted, &mut swept.kept, &mut swept.archived] {
        items.sort_by(|one, other| one.dataset.cmp(&other.dataset));
    }
    swept.skipped.sort_by(|one, other| one.dataset.cmp(&other.dataset));
    (swept, failures)
}

/// Drops the tables that audits have left behind. In a dry run, only lists them. An error comes with the name of its
/// database.
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
        for table in leftover_audit_tables(env, database, now).await.map_err(at)? {
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

/// Returns the priority of a kind of error. The invocation fails with the error that has the highest priority.
fn urgency(kind: Kind) -> u8 {
    match kind {
        Kind::Corrupt => 2,
        Kind::Unavailable | Kind::Conflict => 0,
        _ => 1,
    }
}

/// Returns the error for an invocation in which at least one dataset or database could not be swept. `failure` is about
/// the one called `name`.
fn failed(swept: &Swept, name: &str, failure: Error) -> Error {
    let others = match swept.skipped.len().saturating_sub(1) {
        0 => String::new(),
        others => format!(" ({others} other datasets were not swept either: see the log)"),
    };
    let kind = failure.kind();
    Error::new(kind, format!("{name} was not swept{others}")).caused_by(failure)
}

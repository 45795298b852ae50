//! Athena and Glue as engines. An engine writes a generation's files while Turntable doesn't wait, and the run is
//! settled afterwards.
//!
//! [`export`] writes a pending record next to the manifests, starts the run and returns. Later an event ([`run_ended`]),
//! sweep or the next export ([`check_pending`]) asks the engine for the run's state and settles the run once. A settled run
//! has either a manifest or a failed record. Both are create-if-absent, and events only trigger the check. So
//! duplicate, late and reordered events do nothing, and sweep makes up for a lost one.
//!
//! - A retry finds the pending record of the previous attempt and continues it. It finds an Athena run by its token,
//!   and a Glue job run by its argument `--turntable_location`. While a run is pending, no other is started for the
//!   dataset.
//! - A run is identified by its location, which is in the query and in the job's arguments. So a run can be settled
//!   even if its start was never confirmed.
//! - A run that ends after its failed record was written changes nothing: the record stays, and sweep deletes the
//!   files. A failure is reported before its record is written. So a process that dies in between may report it twice,
//!   but never loses it.

mod files;
mod settle;
mod start;

use std::sync::Arc;

use jiff::SignedDuration;

use crate::environment::Environment;
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
    layout::{Generation, ObjectKind, TablePaths},
    manifest::Manifest,
    port::Engine,
    record::{self, EngineRun, Failed, Pending},
};

/// The arguments that a job gets besides [`turntable_core::record::JOB_LOCATION`], which identifies the run.
const DATASET: &str = "--turntable_dataset";
const GENERATION: &str = "--turntable_generation";
const AS_OF: &str = "--turntable_as_of";

/// Until this long after its beginning, a run whose start was never confirmed is started again. Later it counts as
/// failed. It is longer than the queue's retries. AWS doesn't document how long Athena remembers a token.
const AGAIN: SignedDuration = SignedDuration::from_mins(15);

/// The environment of runs: the ports and the engine.
#[derive(Clone)]
pub struct Engines {
    pub env: Environment,
    pub engine: Arc<dyn Engine>,
}

/// The state of a run after a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was started, now or by an earlier attempt.
    Started(Pending),
    /// It has not ended yet.
    Running(Pending),
    /// Its manifest was written, which triggers the flip.
    Complete(Manifest),
    /// It failed, and the failed record isn't written yet. The caller reports the failure and then writes the record
    /// with [`failed`]. In this order a failure may be reported twice, but is never lost.
    Failed(Pending, Error),
    /// Nothing to do, with the reason.
    Nothing(String),
}

/// Starts a run for the dataset, if none is pending.
pub async fn export(engines: &Engines, dataset: &Dataset) -> Result<Outcome> {
    for pending in unsettled_runs(&engines.env, dataset).await?.into_iter().rev() {
        match settle::pending(engines, dataset, pending).await? {
            // Another invocation has settled it meanwhile.
            Outcome::Nothing(_) => {}
            // After a failure, the next attempt starts a new run.
            outcome => return Ok(outcome),
        }
    }
    start::fresh(engines, dataset).await
}

/// Handles an event that says that a run has ended. Asks the engine for the run's state, and settles the run if it is
/// pending.
pub async fn run_ended(engines: &Engines, config: &Config, run: &EngineRun) -> Result<Outcome> {
    let Some(progress) = engines.engine.loaded(run).await? else {
        return Ok(Outcome::Nothing("the engine does not know this run".into()));
    };
    let paths = progress.location.as_ref().and_then(TablePaths::of_generation);
    let Some((paths, generation)) = paths else {
        return Ok(Outcome::Nothing("unmanaged run: it writes to no generation's location".into()));
    };
    // An account may have several stacks, which get the events of each other's runs.
    let Ok(dataset) = config.dataset_at(&paths) else {
        return Ok(Outcome::Nothing(format!("no dataset is configured to publish to {}", paths.location())));
    };
    match unsettled(&engines.env, dataset, &generation).await? {
        Some(pending) => settle::ended(engines, dataset, pending, progress.state).await,
        None => Ok(Outcome::Nothing(format!("{generation} of {} is not pending", dataset.name))),
    }
}

/// Checks a pending run, and settles it if it has ended.
pub async fn check_pending(engines: &Engines, dataset: &Dataset, generation: &Generation) -> Result<Outcome> {
    match unsettled(&engines.env, dataset, generation).await? {
        Some(pending) => settle::pending(engines, dataset, pending).await,
        None => Ok(Outcome::Nothing(format!("{generation} of {} is not pending", dataset.name))),
    }
}

/// Returns the pending record of a run, or `None` if there is none or the run is settled.
async fn unsettled(env: &Environment, dataset: &Dataset, generation: &Generation) -> Result<Option<Pending>> {
    let key = dataset.paths.pending(generation);
    let Some(json) = env.objects.get(&key).await? else { return Ok(None) };
    let pending: Pending = record::from_json(&key, &json)?;
    let recorded = (&pending.dataset, &pending.generation, &pending.location);
    if recorded != (&dataset.name, generation, &dataset.paths.generation(generation)) {
        return Err(Error::corrupt(format!(
            "{key} names {} at {}, which does not match its key: this is a bug, report it",
            pending.dataset, pending.location
        )));
    }
    for settled in [dataset.paths.manifest(generation), dataset.paths.failed(generation)] {
        if env.objects.head(&settled).await?.is_some() {
            return Ok(None);
        }
    }
    Ok(Some(pending))
}

/// Returns the unsettled runs, oldest first. Takes one listing, and a few reads per run.
async fn unsettled_runs(env: &Environment, dataset: &Dataset) -> Result<Vec<Pending>> {
    let listed = env.objects.list(&dataset.paths.runs(), None).await?;
    let kinds: Vec<_> = listed.iter().filter_map(|entry| dataset.paths.parse(&entry.key)).collect();
    let mut generations: Vec<Generation> = kinds
        .iter()
        .filter_map(|kind| match kind {
            ObjectKind::Pending(generation) => Some(*generation),
            _ => None,
        })
        .filter(|generation| !kinds.contains(&ObjectKind::Failed(*generation)))
        .collect();
    generations.sort_by_key(|generation| generation.ulid);
    let mut open = Vec::new();
    for generation in generations {
        open.extend(unsettled(env, dataset, &generation).await?);
    }
    Ok(open)
}

/// Writes the failed record of a run, unless there is one.
pub async fn failed(env: &Environment, pending: &Pending, why: &Error) -> Result<()> {
    let Some((paths, generation)) = TablePaths::of_generation(&pending.location) else {
        return Err(Error::corrupt(format!(
            "{} is not a generation's location: this is a bug, report it",
            pending.location
        )));
    };
    let failed = Failed { at: env.clock.now(), error: why.kind().as_str().into(), reason: why.report() };
    let key = paths.failed(&generation);
    env.objects.put_new(&key, record::to_json(&failed).into()).await.map(|_| ())
}

//! Athena and Glue as engines: they write a generation's files while nobody waits, and the run is settled afterwards.
//!
//! [`export`] puts a pending record next to the manifests, starts the run and returns. Whoever hears that a run has ended
//! ([`heard`]: an event), or that one is pending ([`nudged`]: sweep, or the next export), asks the engine how it is, and
//! settles it once: with the manifest, or with the word that it has failed. Both are create-if-absent, and an event is
//! only a nudge: so duplicates, late and reordered ones do nothing, and a lost one is made up for.
//!
//! - A retry finds the pending record of the attempt before and goes on with it: Athena knows the run by its token, a
//!   Glue job by its argument `--turntable_location`. So long as a run is pending, no other is started for the dataset.
//! - A run is found by where it writes to, which is in the query and in the job's arguments: whether its start was heard
//!   of makes no difference.
//! - A run that ends after it was declared failed does nothing: the word stands, and its files are swept. Before the word is
//!   there, somebody is told: a process that dies in between tells it twice, and not never.

mod files;
mod settle;
mod start;

use std::sync::Arc;

use jiff::SignedDuration;

use crate::environment::World;
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
    layout::{Generation, Home, Ours},
    manifest::Manifest,
    port::Engine,
    record::{self, Failed, Pending, Run},
};

/// The arguments that a job is told besides [`turntable_core::record::JOB_LOCATION`], which names the run.
const DATASET: &str = "--turntable_dataset";
const GENERATION: &str = "--turntable_generation";
const AS_OF: &str = "--turntable_as_of";

/// So long after its beginning a run of whose start nothing was heard is started again. It is longer than the queue's
/// retries, and nobody says how long Athena knows a token.
const AGAIN: SignedDuration = SignedDuration::from_mins(15);

/// What runs are built with.
#[derive(Clone)]
pub struct Engines {
    pub world: World,
    pub engine: Arc<dyn Engine>,
}

/// What has become of a run.
#[derive(Debug)]
pub enum Outcome {
    /// It was started, just now or by an attempt before.
    Started(Pending),
    /// It has not ended yet.
    Running(Pending),
    /// Its manifest was written: the chain goes on from there.
    Complete(Manifest),
    /// It has come to nothing, which is on no record yet: who is answered tells somebody, and then puts it there
    /// ([`failed`]). Told twice is better than never.
    Failed(Pending, Error),
    /// There is nothing to be done, and why.
    Nothing(String),
}

/// Starts a run for the dataset, if none is pending.
pub async fn export(engines: &Engines, dataset: &Dataset) -> Result<Outcome> {
    for pending in open(&engines.world, dataset).await?.into_iter().rev() {
        match settle::pending(engines, dataset, pending).await? {
            // Somebody else has settled it meanwhile.
            Outcome::Nothing(_) => {}
            // The next attempt goes on with a run of its own.
            outcome => return Ok(outcome),
        }
    }
    start::fresh(engines, dataset).await
}

/// What an event says: a run has ended.
pub async fn heard(engines: &Engines, config: &Config, run: &Run) -> Result<Outcome> {
    let Some(progress) = engines.engine.look(run).await? else {
        return Ok(Outcome::Nothing("the engine knows no such run".into()));
    };
    let home = progress.location.as_ref().and_then(Home::of_generation);
    let Some((home, generation)) = home else {
        return Ok(Outcome::Nothing("it writes to no generation: it is none of ours".into()));
    };
    // An account may have several stacks, which hear of each other's runs.
    let Ok(dataset) = config.dataset_at(&home) else {
        return Ok(Outcome::Nothing(format!("no dataset is configured to publish to {}", home.location())));
    };
    match unsettled(&engines.world, dataset, &generation).await? {
        Some(pending) => settle::ended(engines, dataset, pending, progress.state).await,
        None => Ok(Outcome::Nothing(format!("{generation} of {} is not pending", dataset.name))),
    }
}

/// Looks at a run that is pending.
pub async fn nudged(engines: &Engines, dataset: &Dataset, generation: &Generation) -> Result<Outcome> {
    match unsettled(&engines.world, dataset, generation).await? {
        Some(pending) => settle::pending(engines, dataset, pending).await,
        None => Ok(Outcome::Nothing(format!("{generation} of {} is not pending", dataset.name))),
    }
}

/// The pending record, unless the run is settled.
async fn unsettled(world: &World, dataset: &Dataset, generation: &Generation) -> Result<Option<Pending>> {
    let key = dataset.home.pending(generation);
    let Some(json) = world.objects.get(&key).await? else { return Ok(None) };
    let pending: Pending = record::from_json(&key, &json)?;
    let its = (&pending.dataset, &pending.generation, &pending.location);
    if its != (&dataset.name, generation, &dataset.home.generation(generation)) {
        return Err(Error::corrupt(format!("{key} speaks of {} at {}", pending.dataset, pending.location)));
    }
    for settled in [dataset.home.manifest(generation), dataset.home.failed(generation)] {
        if world.objects.head(&settled).await?.is_some() {
            return Ok(None);
        }
    }
    Ok(Some(pending))
}

/// The runs that are not settled, oldest first: one listing, and a few reads a run.
async fn open(world: &World, dataset: &Dataset) -> Result<Vec<Pending>> {
    let listed = world.objects.list(&dataset.home.runs(), None).await?;
    let ours: Vec<_> = listed.iter().filter_map(|entry| dataset.home.parse(&entry.key)).collect();
    let mut generations: Vec<Generation> = ours
        .iter()
        .filter_map(|ours| match ours {
            Ours::Pending(generation) => Some(*generation),
            _ => None,
        })
        .filter(|generation| !ours.contains(&Ours::Failed(*generation)))
        .collect();
    generations.sort_by_key(|generation| generation.ulid);
    let mut open = Vec::new();
    for generation in generations {
        open.extend(unsettled(world, dataset, &generation).await?);
    }
    Ok(open)
}

/// Puts on record that a run has come to nothing, unless somebody else has.
pub async fn failed(world: &World, pending: &Pending, why: &Error) -> Result<()> {
    let Some((home, generation)) = Home::of_generation(&pending.location) else {
        return Err(Error::corrupt(format!("{} is no generation's location: report this", pending.location)));
    };
    let failed = Failed { at: world.clock.now(), error: why.kind().as_str().into(), reason: why.report() };
    let key = home.failed(&generation);
    world.objects.put_new(&key, record::to_json(&failed).into()).await.map(|_| ())
}

//! Settles a run: writes its manifest once, or returns why there is none.

use super::{
    files, filtered,
    outcome::{Engines, Outcome},
    start,
};
use crate::publish;
use jiff::SignedDuration;
use turntable_core::{
    config::Dataset,
    error::{Error, Kind, Result},
    manifest::{Contents, Identity, Manifest, TypedBy},
    port::RunState,
    record::{EngineRun, Pending},
};

/// The maximum age at which a run is started again if its start was never confirmed. An older run counts as failed.
/// This is longer than the queue's retries take, but not by much, because AWS doesn't document how long Athena
/// remembers a token.
const MAX_RESTART_AGE: SignedDuration = SignedDuration::from_mins(15);

/// Checks a pending run: settles it if it has ended, or starts it again if its start was never confirmed.
pub async fn pending(engines: &Engines, dataset: &Dataset, pending: Pending) -> Result<Outcome> {
    let now = engines.env.clock.now();
    let Some(run) = &pending.run else {
        if now.duration_since(pending.as_of) < MAX_RESTART_AGE {
            return match start::rebuilt(&engines.env, dataset, &pending).await? {
                Some(pending) => start::started(engines, dataset, pending, true).await,
                None => {
                    let why = Error::conflict(format!(
                        "{}: the record of the run for {} doesn't match datasets.toml, so the run was not started: the \
                         dataset has changed since, or something else wrote the record. Run the export again",
                        pending.dataset, pending.generation
                    ));
                    Ok(Outcome::Failed(pending, why))
                }
            };
        }
        let why = Error::unavailable(format!(
            "{}: the engine never confirmed that the run for {} started, and it is too late to start it again: run the \
             export again",
            pending.dataset, pending.generation
        ));
        return Ok(Outcome::Failed(pending, why));
    };
    match engines.engine.progress(&EngineRun::of(&pending.work, run)).await? {
        Some(progress) if progress.location.as_ref() != Some(&pending.location) => {
            let why = Error::conflict(format!(
                "{}: run {run} doesn't write to {}, so it is not the run for {}: something else wrote the record. Run the \
                 export again",
                pending.dataset, pending.location, pending.generation
            ));
            Ok(Outcome::Failed(pending, why))
        }
        Some(progress) => ended(engines, dataset, pending, progress.state).await,
        None => {
            let dataset = &pending.dataset;
            let why =
                Error::unavailable(format!("{dataset}: the engine no longer knows run {run}: run the export again"));
            Ok(Outcome::Failed(pending, why))
        }
    }
}

/// Settles a run according to the state that the engine reported. If a temporary error occurs, the run stays pending.
pub async fn ended(engines: &Engines, dataset: &Dataset, pending: Pending, state: RunState) -> Result<Outcome> {
    match state {
        RunState::Running => Ok(Outcome::Running(pending)),
        RunState::Failed(why) => Ok(Outcome::Failed(pending, why)),
        RunState::Succeeded => match complete(engines, dataset, &pending).await {
            Err(why) if !matches!(why.kind(), Kind::Unavailable | Kind::Conflict) => Ok(Outcome::Failed(pending, why)),
            settled => settled,
        },
    }
}

/// Reads the footers of all files and writes the manifest, which makes the generation complete.
async fn complete(engines: &Engines, dataset: &Dataset, pending: &Pending) -> Result<Outcome> {
    let env = &engines.env;
    let keys = publish::partition_keys(env, dataset).await?;
    let found = files::read(&env.objects, pending, &keys, filtered::columns(env, dataset)).await?;
    let identity = Identity {
        dataset: pending.dataset.clone(),
        generation: pending.generation,
        location: pending.location.clone(),
        base: pending.base.clone(),
        as_of: pending.as_of,
        spec: pending.spec.clone(),
        inputs: pending.inputs.clone(),
    };
    let contents = Contents {
        typed_by: TypedBy::Source,
        columns: found.columns,
        partitions: found.partitions,
        files: found.files,
        nulled: Default::default(),
        missing: Default::default(),
        ignored: Default::default(),
    };
    let manifest = Manifest::new(identity, contents, env.clock.now());
    Ok(match publish::complete(env, dataset, &manifest).await? {
        true => Outcome::Complete(manifest),
        false => Outcome::Nothing(format!("{} of {} is already settled", pending.generation, dataset.name)),
    })
}

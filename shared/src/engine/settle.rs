//! Settles a run: writes its manifest once, or returns why there is none.

use super::{AGAIN, Engines, Outcome, files, start};
use crate::publish;
use turntable_core::{
    config::Dataset,
    error::{Error, Kind, Result},
    manifest::{Manifest, TypedBy, VERSION},
    port::{Put, RunState},
    record::{EngineRun, Pending},
};

/// Asks the engine for the state of a pending run, and settles the run if it has ended.
pub async fn pending(engines: &Engines, dataset: &Dataset, pending: Pending) -> Result<Outcome> {
    let now = engines.env.clock.now();
    let Some(run) = &pending.run else {
        if now.duration_since(pending.as_of) < AGAIN {
            return start::started(engines, dataset, pending, true).await;
        }
        let why = Error::unavailable("the start of the run was never confirmed, and it is too late to start it again");
        return Ok(Outcome::Failed(pending, why));
    };
    match engines.engine.loaded(&EngineRun::of(&pending.work, run)).await? {
        Some(progress) => ended(engines, dataset, pending, progress.state).await,
        None => {
            let why = Error::unavailable(format!("the engine no longer knows the run {run}"));
            Ok(Outcome::Failed(pending, why))
        }
    }
}

/// Settles a run in the state that the engine has returned.
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
    let found = files::read(&env.objects, pending, &keys).await?;
    let manifest = Manifest {
        version: VERSION,
        dataset: pending.dataset.clone(),
        generation: pending.generation,
        location: pending.location.clone(),
        base: pending.base.clone(),
        as_of: pending.as_of,
        created_at: env.clock.now(),
        spec: pending.spec.clone(),
        typed_by: TypedBy::Source,
        columns: found.columns,
        partitions: found.partitions,
        rows: found.files.iter().map(|file| file.rows).sum(),
        bytes: found.files.iter().map(|file| file.bytes).sum(),
        files: found.files,
        nulled: Default::default(),
        merge: None,
        group: None,
    };
    let key = dataset.paths.manifest(&pending.generation);
    match env.objects.put_new(&key, manifest.to_json().into()).await? {
        Put::Created => Ok(Outcome::Complete(manifest)),
        Put::Exists => Ok(Outcome::Nothing(format!("{} of {} is already settled", pending.generation, dataset.name))),
    }
}

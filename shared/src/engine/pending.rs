//! Reads and writes the records of engine runs. A run is pending until a manifest or a failed record settles it.

use turntable_core::{
    config::Dataset,
    error::{Error, Result},
    layout::{Generation, ObjectKind, TablePaths},
    record::{self, Failed, Pending},
};

use crate::environment::Environment;

/// Returns a run's pending record, or `None` if the run has no record or is settled. Fails if the record's content
/// doesn't match its key.
pub(super) async fn unsettled(
    env: &Environment,
    dataset: &Dataset,
    generation: &Generation,
) -> Result<Option<Pending>> {
    let key = dataset.paths.pending(generation);
    let Some(pending) = env.record::<Pending>(&key).await? else { return Ok(None) };
    let recorded = (&pending.dataset, &pending.generation, &pending.location);
    if recorded != (&dataset.name, generation, &dataset.paths.generation(generation)) {
        return Err(Error::corrupt(format!(
            "{key}: the record is for dataset {:?} and location {}, which does not match the record's key: this is a \
             bug, please report it",
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

/// Returns the pending records of the unsettled runs, oldest first. Makes one listing, and up to three requests per
/// run.
pub(super) async fn unsettled_runs(env: &Environment, dataset: &Dataset) -> Result<Vec<Pending>> {
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

/// Writes a run's failed record with the error `why`, unless the run already has a failed record.
pub async fn failed(env: &Environment, pending: &Pending, why: &Error) -> Result<()> {
    let Some((paths, generation)) = TablePaths::of_generation(&pending.location) else {
        return Err(Error::corrupt(format!(
            "{} is not a generation's location: this is a bug, please report it",
            pending.location
        )));
    };
    let failed = Failed { at: env.clock.now(), error: why.kind().as_str().into(), reason: why.report() };
    let key = paths.failed(&generation);
    env.objects.put_new(&key, record::to_json(&failed).into()).await.map(|_| ())
}

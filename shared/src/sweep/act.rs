//! Carries out a sweep's plan. The process may die at any point, and the next sweep continues: see the proof in
//! [`crate::sweep`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;

use super::contents::TableContents;
use crate::environment::Environment;
use turntable_core::{
    config::Dataset,
    error::{Error, Result},
    layout::{Generation, Key, TablePaths},
    port::{MAX_DELETES_PER_REQUEST, Objects, Unfinished, Update},
    record::{self, Sweeping},
    sweep::{Plan, SweepState},
    table::TableChange,
};

/// The limits of one invocation, which all datasets share.
#[derive(Debug)]
pub struct Budget {
    /// No new work starts after this time.
    pub until: Timestamp,
    /// The number of objects that may still be deleted or moved.
    objects: Mutex<usize>,
}

impl Budget {
    pub fn new(until: Timestamp, objects: usize) -> Self {
        Budget { until, objects: Mutex::new(objects) }
    }

    /// Returns the number of objects that may still be deleted or moved.
    pub fn objects(&self) -> usize {
        *self.left()
    }

    /// Reserves `wanted` objects, or all that are left if they are fewer.
    pub(super) fn take(&self, wanted: usize) -> Share<'_> {
        let mut left = self.left();
        let objects = wanted.min(*left);
        *left -= objects;
        Share { budget: self, objects }
    }

    fn left(&self) -> MutexGuard<'_, usize> {
        // A poisoned lock is fine, because a panic elsewhere can't leave a plain number inconsistent.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of the budget that one dataset has reserved. When it is dropped, the unused rest goes back to the budget.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    pub(super) objects: usize,
}

impl Share<'_> {
    pub(super) fn used(&mut self, objects: usize) {
        self.objects = self.objects.saturating_sub(objects);
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.left() += self.objects;
    }
}

/// The part of a plan that was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// The number of generations that were deleted completely. They are the first ones in the plan.
    pub generations: usize,
    /// The number of data objects that were deleted, including those of a generation that was deleted only partly.
    pub objects: usize,
    /// Whether part of the plan remains.
    pub more: bool,
}

/// The maximum number of requests that are in flight for one dataset at the same time.
const MAX_CONCURRENT_REQUESTS: usize = 8;

/// Carries out the plan as far as the budget allows. Returns `None` if the table has changed since its state was
/// loaded. In that case, no generation's objects were deleted, and the caller must reload the state and plan again.
pub async fn act(
    env: &Environment,
    dataset: &Dataset,
    loaded: &TableContents,
    plan: &Plan,
    uploads: &[Unfinished],
    budget: &Budget,
) -> Result<Option<Done>> {
    let (paths, objects) = (&dataset.paths, &env.objects);
    delete(objects, plan.spared.iter().map(|generation| paths.sweeping(generation)).collect()).await?;
    delete(objects, plan.records.iter().map(|flip| paths.flip(*flip)).collect()).await?;
    delete(objects, plan.runs.iter().flat_map(|generation| records_of_run(paths, generation)).collect()).await?;
    let gone = |generation: &&Generation| !loaded.state.generations.contains_key(*generation);
    delete(objects, loaded.verdicts.iter().filter(gone).map(|generation| paths.verdict(generation)).collect()).await?;
    delete(objects, plan.revert_intents.iter().map(|flip| paths.revert_intent(*flip)).collect()).await?;
    stream::iter(uploads)
        .map(|upload| objects.abort_upload(upload))
        .buffer_unordered(MAX_CONCURRENT_REQUESTS)
        .try_collect::<()>()
        .await?;

    // Each generation costs one more than its objects, for its manifest, so that a generation without objects isn't
    // free.
    let wanted = plan.go.iter().map(|(generation, _)| loaded.state.generations[generation].objects.len() + 1).sum();
    let mut share = budget.take(wanted);
    let (go, chunks) = affordable(&loaded.state, plan, share.objects);
    let mut done = Done { more: go.len() < plan.go.len(), ..Done::default() };
    if go.is_empty() {
        return Ok(Some(done));
    }
    let mark = record::to_json(&Sweeping { at: env.clock.now() });
    stream::iter(&go)
        .map(|generation| async { objects.put(&paths.sweeping(generation), mark.clone().into()).await })
        .buffer_unordered(MAX_CONCURRENT_REQUESTS)
        .try_collect::<()>()
        .await?;
    if !fence(env, dataset, loaded).await? {
        return Ok(None);
    }
    delete(objects, go.iter().map(|generation| paths.manifest(generation)).collect()).await?;

    let in_time = |_: &_| future::ready(env.clock.now() < budget.until);
    let deleted: Vec<usize> = stream::iter(&chunks)
        .take_while(in_time)
        .map(|keys| async { objects.delete(keys).await.map(|()| keys.len()) })
        .buffered(MAX_CONCURRENT_REQUESTS)
        .try_collect()
        .await?;
    done.objects = deleted.iter().sum();
    share.used(done.objects + go.len());
    // Objects are deleted generation by generation, in order, so their number shows which generations are deleted
    // completely.
    let mut rest = Some(done.objects);
    let mut whole = |generation: &&Generation| {
        rest = rest.and_then(|rest| rest.checked_sub(loaded.state.generations[*generation].objects.len()));
        rest.is_some()
    };
    done.generations = go.iter().take_while(&mut whole).count();
    done.more |= done.generations < go.len();
    // An engine run's records protect its files until the run has ended, so the records are deleted after the files.
    let ran = |generation: &&Generation| loaded.state.generations[*generation].run.is_some();
    let runs = go[..done.generations].iter().filter(ran).flat_map(|generation| records_of_run(paths, generation));
    delete(objects, runs.collect()).await?;
    delete(objects, go[..done.generations].iter().map(|generation| paths.verdict(generation)).collect()).await?;
    delete(objects, go[..done.generations].iter().map(|generation| paths.sweeping(generation)).collect()).await?;
    Ok(Some(done))
}

fn records_of_run(paths: &TablePaths, generation: &Generation) -> [Key; 2] {
    [paths.failed(generation), paths.pending(generation)]
}

/// Returns the generations whose deletion can start with a budget of `objects`, in the plan's order, and the keys of
/// the data objects that the budget covers, in chunks for one request each.
fn affordable<'a>(state: &'a SweepState, plan: &Plan, mut objects: usize) -> (Vec<Generation>, Vec<&'a [Key]>) {
    let (mut go, mut chunks) = (Vec::new(), Vec::new());
    for (generation, _) in &plan.go {
        if objects == 0 {
            break;
        }
        let found = &state.generations[generation].objects;
        let keys = &found[..found.len().min(objects)];
        chunks.extend(keys.chunks(MAX_DELETES_PER_REQUEST));
        go.push(*generation);
        objects = objects.saturating_sub(keys.len() + 1);
    }
    (go, chunks)
}

/// Fences the table, so that every `VersionId` that was read before is stale. Returns `false` if the table has changed
/// since it was loaded.
async fn fence(env: &Environment, dataset: &Dataset, loaded: &TableContents) -> Result<bool> {
    let table = loaded.table.as_ref().filter(|table| table.token.is_some()).ok_or_else(|| {
        Error::corrupt(format!(
            "{}: Glue's response lacks a VersionId, so nothing was deleted: invoke sweep again",
            dataset.table
        ))
    })?;
    let sent = env.catalog.update(table, &TableChange::default()).await?;
    Ok(sent == Update::Done)
}

pub(super) async fn delete(objects: &Arc<dyn Objects>, keys: Vec<Key>) -> Result<()> {
    stream::iter(keys.chunks(MAX_DELETES_PER_REQUEST))
        .map(|keys| objects.delete(keys))
        .buffer_unordered(MAX_CONCURRENT_REQUESTS)
        .try_collect()
        .await
}

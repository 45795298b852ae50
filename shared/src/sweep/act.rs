//! Carries a plan out. Everything here may die anywhere and be done again: see the proof in [`crate::sweep`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;

use super::look::Look;
use crate::environment::World;
use turntable_core::{
    config::Dataset,
    error::{Error, Result},
    layout::{Generation, Home, Key},
    port::{DELETED_AT_ONCE, Objects, Unfinished, Update},
    record::{self, Sweeping},
    sweep::{Plan, State},
    table::TableChange,
};

/// What one invocation may do, over all datasets.
#[derive(Debug)]
pub struct Budget {
    /// Nothing more is begun after this.
    pub until: Timestamp,
    /// Objects that may still be deleted or moved.
    objects: Mutex<usize>,
}

impl Budget {
    pub fn new(until: Timestamp, objects: usize) -> Self {
        Budget { until, objects: Mutex::new(objects) }
    }

    /// Objects that may still be deleted or moved.
    pub fn objects(&self) -> usize {
        *self.left()
    }

    /// Sets so many aside, or as many as there are.
    pub(super) fn take(&self, wanted: usize) -> Share<'_> {
        let mut left = self.left();
        let objects = wanted.min(*left);
        *left -= objects;
        Share { budget: self, objects }
    }

    fn left(&self) -> MutexGuard<'_, usize> {
        // A number is whole whatever has panicked.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one dataset has of the budget. What it does not use goes back.
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

/// What was done of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// How many of the plan's generations have gone, the first ones.
    pub generations: usize,
    /// Objects of generations that have gone.
    pub objects: usize,
    /// Whether something of the plan is left.
    pub more: bool,
}

/// Requests that are under way at the same time.
const AT_ONCE: usize = 8;

/// `None`: the table has changed since the look, and of generations nothing was deleted. Look again.
pub async fn act(
    world: &World,
    dataset: &Dataset,
    look: &Look,
    plan: &Plan,
    uploads: &[Unfinished],
    budget: &Budget,
) -> Result<Option<Done>> {
    let (home, objects) = (&dataset.home, &world.objects);
    delete(objects, plan.spared.iter().map(|generation| home.sweeping(generation)).collect()).await?;
    delete(objects, plan.records.iter().map(|flip| home.flip(*flip)).collect()).await?;
    delete(objects, plan.runs.iter().flat_map(|generation| records_of_run(home, generation)).collect()).await?;
    delete(objects, plan.returns.iter().map(|flip| home.returning(*flip)).collect()).await?;
    stream::iter(uploads)
        .map(|upload| objects.abort_upload(upload))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;

    // One more a generation, for its manifest: one without objects is no free one.
    let wanted = plan.go.iter().map(|(generation, _)| look.state.generations[generation].objects.len() + 1).sum();
    let mut share = budget.take(wanted);
    let (go, chunks) = affordable(&look.state, plan, share.objects);
    let mut done = Done { more: go.len() < plan.go.len(), ..Done::default() };
    if go.is_empty() {
        return Ok(Some(done));
    }
    let mark = record::to_json(&Sweeping { at: world.clock.now() });
    stream::iter(&go)
        .map(|generation| async { objects.put(&home.sweeping(generation), mark.clone().into()).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    if !fence(world, dataset, look).await? {
        return Ok(None);
    }
    delete(objects, go.iter().map(|generation| home.manifest(generation)).collect()).await?;

    let in_time = |_: &_| future::ready(world.clock.now() < budget.until);
    let deleted: Vec<usize> = stream::iter(&chunks)
        .take_while(in_time)
        .map(|keys| async { objects.delete(keys).await.map(|()| keys.len()) })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    done.objects = deleted.iter().sum();
    share.used(done.objects + go.len());
    // Objects go in the order of the generations.
    let mut rest = Some(done.objects);
    let mut whole = |generation: &&Generation| {
        rest = rest.and_then(|rest| rest.checked_sub(look.state.generations[*generation].objects.len()));
        rest.is_some()
    };
    done.generations = go.iter().take_while(&mut whole).count();
    done.more |= done.generations < go.len();
    // The records of an engine's run keep its files until it has ended: they go after them.
    let ran = |generation: &&Generation| look.state.generations[*generation].run.is_some();
    let runs = go[..done.generations].iter().filter(ran).flat_map(|generation| records_of_run(home, generation));
    delete(objects, runs.collect()).await?;
    delete(objects, go[..done.generations].iter().map(|generation| home.sweeping(generation)).collect()).await?;
    Ok(Some(done))
}

fn records_of_run(home: &Home, generation: &Generation) -> [Key; 2] {
    [home.failed(generation), home.pending(generation)]
}

/// The first generations of the plan whose deletion can be begun, and their objects, as many as may go.
fn affordable<'a>(state: &'a State, plan: &Plan, mut objects: usize) -> (Vec<Generation>, Vec<&'a [Key]>) {
    let (mut go, mut chunks) = (Vec::new(), Vec::new());
    for (generation, _) in &plan.go {
        if objects == 0 {
            break;
        }
        let found = &state.generations[generation].objects;
        let keys = &found[..found.len().min(objects)];
        chunks.extend(keys.chunks(DELETED_AT_ONCE));
        go.push(*generation);
        objects = objects.saturating_sub(keys.len() + 1);
    }
    (go, chunks)
}

/// Makes every `VersionId` that was read before stale, if the table is still as it was at the look.
async fn fence(world: &World, dataset: &Dataset, look: &Look) -> Result<bool> {
    let table = look.table.as_ref().filter(|table| table.token.is_some()).ok_or_else(|| {
        Error::corrupt(format!("{}: Glue gave no VersionId, and without it no deletion is safe", dataset.table))
    })?;
    let sent = world.catalog.update(table, &TableChange::default()).await?;
    Ok(sent == Update::Done)
}

async fn delete(objects: &Arc<dyn Objects>, keys: Vec<Key>) -> Result<()> {
    stream::iter(keys.chunks(DELETED_AT_ONCE))
        .map(|keys| objects.delete(keys))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

//! Commits a flip: its one `UpdateTable` (or `CreateTable`), and its record.

use aws_sdk_glue::types::TableInput;
use tracing::warn;
use ulid::Ulid;

use super::{ATTEMPTS, Cause, Ended, Look, Outcome, busy, canary};
use crate::{
    aws::{glue, projection},
    config::Dataset,
    error::{Error, Result},
    history::{self, Settled},
    manifest::Manifest,
    name::Generation,
    plan::Live,
    port::Update,
    record::{self, By, Flip, Return},
    schema::{Column, Policy},
    world::World,
};

/// A committed flip.
pub struct Swapped {
    pub ended: Ended,
    pub ulid: Ulid,
    pub flip: Flip,
    /// Whether the flip record was written.
    pub recorded: bool,
}

/// Returns the table input that makes the candidate live, based on the table as it was read.
pub fn next_table(dataset: &Dataset, look: &Look, candidate: &Manifest, policy: Policy) -> TableInput {
    let (location, partitions) = (&candidate.location, &candidate.partitions);
    let mut input = match &look.table {
        Some(table) => {
            let columns = policy.published(&glue::columns(table), &candidate.columns);
            glue::evolved(table, location, &columns)
        }
        None => {
            let keys: Vec<Column> = partitions.iter().map(|partition| partition.column.clone()).collect();
            glue::new_table(&dataset.table, &candidate.columns, &keys, location)
        }
    };
    projection::set(&mut input, location, partitions);
    input
}

/// Commits `input`, which [`next_table`] made for the candidate, and writes the flip record.
///
/// Returns `None` if it lost the race: reload and retry.
pub async fn swap(
    world: &World,
    dataset: &Dataset,
    candidate: &Manifest,
    look: Look,
    input: TableInput,
    cause: &Cause,
) -> Result<Option<Swapped>> {
    // A flip first ensures that the generation that it replaces has a flip record (invariant 4).
    let recovered = look.recover(world, dataset).await?.map(|(ulid, _)| ulid);
    let ulid = record::later(
        world.clock.ulid(),
        look.flips.last().copied().into_iter().chain(recovered).chain([candidate.generation.ulid]),
    );
    // Events need no intent record: an event never brings back a generation that has been live before.
    if cause.by != By::Event {
        let returned = Return { flip: ulid, to: candidate.generation, by: cause.by, why: cause.why.clone() };
        world.objects.put_new(&dataset.home.returning(ulid), record::to_json(&returned).into()).await?;
    }
    let database = &dataset.table.database;
    let sent = match &look.table {
        Some(table) => {
            let version = table.version_id().ok_or_else(|| {
                Error::corrupt(format!(
                    "{}: Glue returned no VersionId, and a flip isn't safe without one",
                    dataset.table
                ))
            })?;
            world.catalog.update(database, input, version).await
        }
        None => world.catalog.create(database, input).await,
    };
    let previous = if matches!(sent, Ok(Update::Done)) {
        look.state.live
    } else {
        // A conflict or an error may be the reply to a retry of this very call, whose first attempt was committed.
        let now = load_unchanged(world, dataset, &candidate.generation).await?;
        let recorded = now.flips.last() != look.flips.last();
        match history::settled(&candidate.generation, look.state.live, &now.state, recorded) {
            Settled::NotLive => return sent.map(|_| None),
            Settled::OnRecord => return Ok(None),
            Settled::Replaced(previous) => previous,
        }
    };
    let flip = Flip {
        dataset: dataset.name.clone(),
        at: world.clock.now(),
        from: previous.location(&dataset.home),
        to: candidate.generation,
        by: cause.by,
        why: cause.why.clone(),
        canary: if matches!(cause.by, By::Event | By::Operator) { canary::pending(dataset) } else { None },
    };
    let key = dataset.home.flip(ulid);
    let written = world.objects.put_new(&key, record::to_json(&flip).into()).await;
    if let Err(error) = &written {
        // The flip stands. The next invocation finds the live generation without a record and writes it.
        warn!(dataset = dataset.name, key = %key, error = error.report(), "flip record not written");
    }
    let live = Live::Ours(candidate.generation);
    let ended =
        Ended { outcome: Outcome::Swapped, live, previous: Some(previous), reasons: Vec::new(), checks: Vec::new() };
    Ok(Some(Swapped { ended, ulid, flip, recorded: written.is_ok() }))
}

/// Loads the state of a table that did not change while it was loaded.
///
/// Otherwise the records could include a flip that came after the live generation that was read. Taking live for the
/// later of the two would put a flip on record that never happened.
async fn load_unchanged(world: &World, dataset: &Dataset, candidate: &Generation) -> Result<Look> {
    for _ in 0..ATTEMPTS {
        let look = Look::at(world, dataset, candidate).await?;
        if look.is_current(world, dataset).await? {
            return Ok(look);
        }
    }
    Err(busy(dataset))
}

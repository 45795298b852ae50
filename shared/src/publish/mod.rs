//! Making a generation live: look → decide → audit → one `UpdateTable` → record.

mod evidence;
mod look;
mod operator;

use serde::Serialize;
use tracing::warn;

pub use look::{Look, flips};
pub use operator::{Status, hold, release, rollback, status};

use crate::{
    audit::{self, Evidence},
    aws::glue,
    config::{Checks, Dataset},
    error::{Error, Result},
    manifest::Manifest,
    name::Generation,
    plan::{self, Decision, Live, Who},
    port::Update,
    record::{self, By, Flip},
    sweep::refuse_swept,
    world::World,
};

/// How a request to flip ended. All of them are expected; an error is what nobody expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Swapped,
    AlreadyLive,
    /// Live is better.
    Stale,
    /// The audit failed.
    Rejected,
    /// An operator's hold is on.
    Held,
    /// Nothing was to be flipped.
    Status,
}

/// An outcome, and what readers read now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub outcome: Outcome,
    pub live: Live,
    /// What was live before, where this request changed it.
    pub previous: Option<Live>,
    pub reasons: Vec<String>,
}

impl Ended {
    fn unchanged(outcome: Outcome, live: &Live, reasons: Vec<String>) -> Ended {
        Ended { outcome, live: live.clone(), previous: None, reasons }
    }
}

/// How an outcome came about, for the record of the flip.
#[derive(Debug, Clone)]
pub struct Cause {
    pub by: By,
    pub why: Option<String>,
}

/// Reads a manifest; `None` where there is none.
pub async fn manifest(world: &World, dataset: &Dataset, generation: &Generation) -> Result<Option<Manifest>> {
    let key = dataset.home.manifest(generation);
    match world.objects.get(&key).await? {
        None => Ok(None),
        Some(json) => {
            let manifest = Manifest::from_json(&key, generation, &json)?;
            if manifest.dataset != dataset.name || manifest.location != dataset.home.generation(generation) {
                return Err(Error::corrupt(format!(
                    "{key} speaks of dataset {:?} at {}: it was not written for {:?}",
                    manifest.dataset, manifest.location, dataset.name
                )));
            }
            Ok(Some(manifest))
        }
    }
}

/// How often a flip that met another one looks again. Each meeting means that somebody else got through.
const ATTEMPTS: usize = 8;

/// Makes a complete generation live, if it is to be.
pub async fn flip(world: &World, dataset: &Dataset, generation: Generation, who: Who) -> Result<Ended> {
    let candidate = manifest(world, dataset, &generation).await?.ok_or_else(|| {
        Error::input(format!(
            "{}: no manifest, and without it there is no generation; `status` names those that there are",
            dataset.home.manifest(&generation)
        ))
    })?;
    let cause = Cause { by: if who == Who::Event { By::Event } else { By::Operator }, why: None };
    for _ in 0..ATTEMPTS {
        let look = Look::at(world, dataset, &generation).await?;
        let unchanged = |outcome, reasons| Ok(Ended::unchanged(outcome, &look.state.live, reasons));
        match plan::flip(&dataset.home, &candidate, &look.state, who)? {
            Decision::AlreadyLive => {
                look.recover(world, dataset).await?;
                return unchanged(Outcome::AlreadyLive, Vec::new());
            }
            Decision::Held(hold) => return unchanged(Outcome::Held, vec![hold.reason]),
            Decision::Stale(why) => return unchanged(Outcome::Stale, vec![why]),
            Decision::Flip => {}
        }
        refuse_swept(world, dataset, &generation).await?;
        let reasons = judge(world, &candidate, &look, &dataset.checks).await?;
        if !reasons.is_empty() {
            return unchanged(Outcome::Rejected, reasons);
        }
        if let Some(ended) = swap(world, dataset, &candidate, look, &cause).await? {
            return Ok(ended);
        }
    }
    Err(busy(dataset))
}

fn busy(dataset: &Dataset) -> Error {
    Error::conflict(format!("{}: somebody else changed the table {ATTEMPTS} times meanwhile: run again", dataset.table))
}

/// Every reason against the candidate.
async fn judge(world: &World, candidate: &Manifest, look: &Look, checks: &Checks) -> Result<Vec<String>> {
    let found = evidence::gather(&world.objects, candidate).await?;
    let columns = look.table.as_ref().map(glue::columns);
    Ok(audit::verdict(&Evidence {
        manifest: candidate,
        objects: &found.objects,
        footers: &found.footers,
        table: columns.as_deref(),
        live_rows: look.live_manifest.as_ref().map(|live| live.rows),
        checks,
    }))
}

/// One `UpdateTable` (or `CreateTable`) and its record. `None`: somebody else was faster, look again.
async fn swap(
    world: &World,
    dataset: &Dataset,
    candidate: &Manifest,
    look: Look,
    cause: &Cause,
) -> Result<Option<Ended>> {
    // Whoever replaces a generation makes sure that it is on record as having been live (invariant 4).
    let recovered = look.recover(world, dataset).await?;
    let ulid = record::later(
        world.clock.ulid(),
        look.flips.last().copied().into_iter().chain(recovered).chain([candidate.generation.ulid]),
    );
    let database = &dataset.table.database;
    let sent = match &look.table {
        Some(table) => {
            let version = table.version_id().ok_or_else(|| {
                Error::corrupt(format!("{}: Glue gave no VersionId, and without it no flip is safe", dataset.table))
            })?;
            world.catalog.update(database, glue::moved(table, &candidate.location), version).await
        }
        None => {
            let input = glue::new_table(&dataset.table, &candidate.columns, &candidate.location);
            world.catalog.create(database, input).await
        }
    };
    // A conflict or an error may be the echo of our own committed attempt: only Location tells (invariant 5).
    if !matches!(sent, Ok(Update::Done)) {
        let now = look::live(world, dataset).await?;
        if now != Live::Ours(candidate.generation) {
            return sent.map(|_| None);
        }
    }
    let flip = Flip {
        dataset: dataset.name.clone(),
        at: world.clock.now(),
        from: look.state.live.location(&dataset.home),
        to: candidate.generation,
        by: cause.by,
        why: cause.why.clone(),
    };
    let key = dataset.home.flip(ulid);
    if let Err(error) = world.objects.put_new(&key, record::to_json(&flip).into()).await {
        // The flip stands. Whoever comes next finds live without a record and writes it.
        warn!(dataset = dataset.name, key = %key, error = error.report(), "flip record not written");
    }
    let live = Live::Ours(candidate.generation);
    Ok(Some(Ended { outcome: Outcome::Swapped, live, previous: Some(look.state.live), reasons: Vec::new() }))
}

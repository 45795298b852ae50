//! Making a generation live: look → decide → audit → one `UpdateTable` → record → canary.

mod ask;
mod canary;
mod evidence;
pub mod group;
mod look;
mod operator;
mod statistics;
mod swap;
mod unflip;

use serde::{Deserialize, Serialize};

pub use ask::Scanned;
pub use look::{Begun, Look, flips, live, live_to_follow, partition_keys};
pub use operator::{hold, release, rollback};
pub use unflip::{Unflip, suspected, unflip, watch};

use ask::Asked;
use swap::Swapped;
pub(crate) use swap::{next_table, swap};

use crate::environment::World;
use turntable_core::{
    audit::{self, Evidence, Verdict},
    config::{Checks, Dataset},
    decision::{self, Decision, Live, Who},
    error::{Error, Result},
    layout::Generation,
    manifest::Manifest,
    record::By,
    schema::Policy,
    table::NextTable,
};

pub use look::{flippable_location, hold as held, refuse_swept};

/// How a request to flip ended. All of them are expected; an error is what nobody expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The dataset's `min_interval` is not over yet, or other members of its group are still to come.
    Waiting,
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
    /// What was asked of Athena.
    pub checks: Vec<Scanned>,
}

impl Ended {
    fn unchanged(outcome: Outcome, live: &Live, reasons: Vec<String>) -> Ended {
        Ended { outcome, live: live.clone(), previous: None, reasons, checks: Vec::new() }
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
    let candidate = candidate(world, dataset, &generation).await?;
    if let Some(run) = &candidate.group {
        let live = look::live(world, dataset).await?;
        let why =
            format!("{generation} was exported with group {}, which the dataset has left: export it again", run.group);
        return Ok(Ended::unchanged(Outcome::Stale, &live, vec![why]));
    }
    let cause = Cause { by: if who == Who::Event { By::Event } else { By::Operator }, why: None };
    let mut asked: Option<Asked> = None;
    for _ in 0..ATTEMPTS {
        let look = Look::at(world, dataset, &generation).await?;
        let unchanged = |outcome, reasons| Ok(Ended::unchanged(outcome, &look.state.live, reasons));
        match decision::flip(&dataset.home, &candidate, &look.state, who)? {
            Decision::AlreadyLive => {
                let ended = Ended::unchanged(Outcome::AlreadyLive, &look.state.live, Vec::new());
                if who == Who::Operator && !operator::adopt(world, dataset, &look, generation, &cause).await? {
                    continue;
                }
                let last = look.recover(world, dataset).await?.or_else(|| look.last_flip());
                return match last.filter(|(_, flip)| flip.to == generation) {
                    Some(flip) => canary::settle(world, dataset, &candidate, flip, ended).await,
                    None => Ok(ended),
                };
            }
            Decision::Held(hold) => return unchanged(Outcome::Held, vec![hold.reason]),
            Decision::Stale(why) => return unchanged(Outcome::Stale, vec![why]),
            Decision::Flip => {}
        }
        let (input, reasons) = audited(world, dataset, &candidate, &look, &mut asked).await?;
        let checks = asked.as_ref().map(|asked| asked.scanned.clone()).unwrap_or_default();
        if !reasons.is_empty() {
            return Ok(Ended { checks, ..Ended::unchanged(Outcome::Rejected, &look.state.live, reasons) });
        }
        if let Some(Swapped { ended, ulid, flip, .. }) = swap(world, dataset, &candidate, look, input, &cause).await? {
            return canary::settle(world, dataset, &candidate, (ulid, flip), Ended { checks, ..ended }).await;
        }
    }
    Err(busy(dataset))
}

/// The manifest of a generation that somebody has named.
async fn candidate(world: &World, dataset: &Dataset, generation: &Generation) -> Result<Manifest> {
    manifest(world, dataset, generation).await?.ok_or_else(|| {
        Error::input(format!(
            "{}: no manifest, and without it there is no generation; `status` names those that there are",
            dataset.home.manifest(generation)
        ))
    })
}

/// The whole audit: the table that the flip would make, and every reason against it. `asked` keeps Athena's answers for
/// the next look.
async fn audited(
    world: &World,
    dataset: &Dataset,
    candidate: &Manifest,
    look: &Look,
    asked: &mut Option<Asked>,
) -> Result<(NextTable, Vec<String>)> {
    refuse_swept(world, dataset, &candidate.generation).await?;
    let input = next_table(dataset, look, candidate, dataset.schema);
    let Verdict { structure, content } = judge(world, candidate, look, &dataset.checks, dataset.schema).await?;
    let sound = structure.is_empty();
    let mut reasons = [structure, content].concat();
    if sound {
        // Asked once, unless somebody else changes meanwhile what is to be published.
        let again = asked.take().filter(|asked| asked.is_of(&input));
        let now = match again {
            Some(asked) => asked,
            None => Asked::of(world, dataset, candidate, &input).await?,
        };
        reasons.extend(now.reasons.iter().cloned());
        *asked = Some(now);
    } else if audit::asks(&dataset.checks) {
        reasons.push("unique, sql: not asked, because of the above".into());
    }
    Ok((input, reasons))
}

fn busy(dataset: &Dataset) -> Error {
    Error::conflict(format!("{}: somebody else changed the table {ATTEMPTS} times meanwhile: run again", dataset.table))
}

/// Every reason against the candidate that its files tell.
async fn judge(world: &World, candidate: &Manifest, look: &Look, checks: &Checks, policy: Policy) -> Result<Verdict> {
    let found = evidence::gather(&world.objects, candidate).await?;
    let columns = look.table.as_ref().map(|table| table.columns.as_slice());
    Ok(audit::verdict(&Evidence {
        now: world.clock.now(),
        manifest: candidate,
        objects: &found.objects,
        footers: &found.footers,
        table: columns,
        partition_keys: look.table.as_ref().map(|table| table.partition_keys.as_slice()),
        policy,
        live_rows: look.live_manifest.as_ref().map(|live| live.rows),
        checks,
    }))
}

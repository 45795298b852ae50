//! Makes a generation live: load → decide → audit → one `UpdateTable` → record → canary.

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

/// How a request to flip ended. All outcomes are expected; anything unexpected is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Swapped,
    AlreadyLive,
    /// The candidate must not replace live: for example, it is not fresher, or it has been live before.
    Stale,
    /// The audit or the canary failed.
    Rejected,
    /// An operator's hold prevents the flip.
    Held,
    /// The dataset's `min_interval` has not elapsed, or other members of its group have no manifest yet.
    Waiting,
    /// The request flips nothing.
    Status,
}

/// An outcome, and the generation or location that is live afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub outcome: Outcome,
    pub live: Live,
    /// What was live before, if this request changed it.
    pub previous: Option<Live>,
    pub reasons: Vec<String>,
    /// The checks that ran in Athena, with the bytes that each scanned.
    pub checks: Vec<Scanned>,
}

impl Ended {
    fn unchanged(outcome: Outcome, live: &Live, reasons: Vec<String>) -> Ended {
        Ended { outcome, live: live.clone(), previous: None, reasons, checks: Vec::new() }
    }
}

/// Who or what caused a flip and why, for its flip record.
#[derive(Debug, Clone)]
pub struct Cause {
    pub by: By,
    pub why: Option<String>,
}

/// Reads a generation's manifest, or returns `None` if there is none.
///
/// Fails as `Corrupt` if the manifest names another dataset or location.
pub async fn manifest(world: &World, dataset: &Dataset, generation: &Generation) -> Result<Option<Manifest>> {
    let key = dataset.home.manifest(generation);
    match world.objects.get(&key).await? {
        None => Ok(None),
        Some(json) => {
            let manifest = Manifest::from_json(&key, generation, &json)?;
            if manifest.dataset != dataset.name || manifest.location != dataset.home.generation(generation) {
                return Err(Error::corrupt(format!(
                    "{key} names dataset {:?} at {}: it was not written for {:?}",
                    manifest.dataset, manifest.location, dataset.name
                )));
            }
            Ok(Some(manifest))
        }
    }
}

/// How many times a flip that lost a race reloads and retries. Each lost race means that another writer succeeded.
const ATTEMPTS: usize = 8;

/// Makes a complete generation live, if the decision and the audit allow it.
pub async fn flip(world: &World, dataset: &Dataset, generation: Generation, who: Who) -> Result<Ended> {
    let candidate = candidate(world, dataset, &generation).await?;
    if let Some(run) = &candidate.group {
        let live = look::live(world, dataset).await?;
        let why =
            format!("{generation} was exported with group {}, which the dataset has left: run export again", run.group);
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

/// Returns the manifest of a generation that a request named. Fails as `Input` if there is none.
async fn candidate(world: &World, dataset: &Dataset, generation: &Generation) -> Result<Manifest> {
    manifest(world, dataset, generation).await?.ok_or_else(|| {
        Error::input(format!(
            "{}: no such manifest, so the generation does not exist; `status` lists the generations that do",
            dataset.home.manifest(generation)
        ))
    })
}

/// Runs the whole audit. Returns the table input that the flip would send, and every reason against it.
///
/// `asked` keeps Athena's answers for a retry.
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
        // Each retry reuses Athena's answers, unless another writer has changed the table that would be published.
        let again = asked.take().filter(|asked| asked.is_of(&input));
        let now = match again {
            Some(asked) => asked,
            None => Asked::of(world, dataset, candidate, &input).await?,
        };
        reasons.extend(now.reasons.iter().cloned());
        *asked = Some(now);
    } else if audit::asks(&dataset.checks) {
        reasons.push("unique, sql: not run, because of the failures above".into());
    }
    Ok((input, reasons))
}

/// Returns the error of a request that lost every race for the table.
fn busy(dataset: &Dataset) -> Error {
    Error::conflict(format!("{}: lost the race for the table {ATTEMPTS} times: send the request again", dataset.table))
}

/// Audits the candidate's objects and footers. Returns every reason against it that needs no query.
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

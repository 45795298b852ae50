//! Making a run of a group live: look → decide → audit of all → `_groups/GROUP.json` → all tables at once → canaries.
//!
//! # Why a group never ends as a mixture of two runs
//!
//! Tables are moved only while the group's record says which flip is under way, and each of them by its `VersionId`. The
//! record is changed only as it was read, so that of all that would begin something one wins; the others find it, and
//! finish it first. Nobody needs to know whether whoever began it is still there: every step may be done twice.
//!
//! - Forward: a table is moved from where it was found when the flip began to where it shall be. Its version was read
//!   first, and then the record. When all are there the record names the run as live.
//! - Back, from the moment that the record says so: each table that is there is moved back, and each that is not there
//!   yet gets a `VersionId` of its own all the same (`turn.rs`). Whoever still goes forward has read the version before, and
//!   then it is stale; or after, and then the record says that it goes back.
//! - So when a flip is over, either way, every version that was read for it is stale, and nobody can move a table for it
//!   any more. Whoever begins the next one has read the record after that, or loses.
//!
//! A table that did not exist has no `VersionId`, and none is deleted: in the flip that creates it, it may stay behind.
//!
//! What the record names as live was live together: all tables were looked at after the last of them had been moved.

mod operator;
mod prepare;
mod store;
mod turn;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use ulid::Ulid;

pub use operator::{hold, release, rollback, status};
use prepare::Prepared;
use turn::Settled;

use super::{ATTEMPTS, Outcome, Scanned, candidate, look, manifest};
use crate::environment::World;
use turntable_core::{
    config::{Dataset, Group},
    decision::{Live, Who},
    error::Result,
    group::{self, Next, Record, Set},
    layout::Generation,
    manifest::{Manifest, Run},
    record::By,
};

/// How a request about a group ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub outcome: Outcome,
    pub run: Option<Ulid>,
    pub reasons: Vec<String>,
    /// What readers read now, by dataset, as far as it was looked at.
    pub live: BTreeMap<String, Live>,
    /// What was live before, where this request changed it.
    pub previous: BTreeMap<String, Live>,
    /// What was asked of Athena.
    pub checks: Vec<Scanned>,
    /// From the first `UpdateTable` to the last record of them; `None` where none was sent.
    pub between: Option<Duration>,
}

impl Ended {
    fn unchanged(outcome: Outcome, run: Option<Ulid>, reasons: Vec<String>) -> Ended {
        let (live, previous) = (BTreeMap::new(), BTreeMap::new());
        Ended { outcome, run, reasons, live, previous, checks: Vec::new(), between: None }
    }

    /// With what is live of every member now.
    async fn with_live(self, world: &World, group: &Group<'_>) -> Result<Ended> {
        let mut live = BTreeMap::new();
        for member in &group.members {
            live.insert(member.name.clone(), look::live(world, member).await?);
        }
        Ok(Ended { live, ..self })
    }
}

/// Makes the run of a generation live, if it is to be: all members, or none.
pub async fn flip(
    world: &World,
    group: &Group<'_>,
    dataset: &Dataset,
    generation: Generation,
    who: Who,
) -> Result<Ended> {
    let named = candidate(world, dataset, &generation).await?;
    let Some(run) = &named.group else {
        let why = format!("{generation} of {} was exported without its group: export it again", dataset.name);
        return Ended::unchanged(Outcome::Stale, None, vec![why]).with_live(world, group).await;
    };
    let unchanged = |outcome, reasons| Ended::unchanged(outcome, Some(run.run), reasons);
    let names: Vec<&str> = group.members.iter().map(|member| member.name.as_str()).collect();
    if let Some(why) = group::other_members(run, &group.name.name, &names) {
        return unchanged(Outcome::Stale, vec![why]).with_live(world, group).await;
    }
    let last = run.last().filter(|last| who == Who::Event && *last != dataset.name);
    if let Some(last) = last {
        let why = format!("group {} flips with the manifest of {last}, which comes last", run.group);
        return Ok(unchanged(Outcome::Waiting, vec![why]));
    }
    let candidates = match candidates(world, group, run).await? {
        Ok(candidates) => candidates,
        Err(missing) => {
            let why = format!("no manifest yet of {}", missing.join(", "));
            return unchanged(Outcome::Waiting, vec![why]).with_live(world, group).await;
        }
    };
    let mut asked = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        let found = store::read(world, group.name).await?;
        // What was begun is finished first, by whoever comes.
        if found.record.flipping.is_some() {
            match turn::settle(world, group, BTreeMap::new()).await? {
                Settled::Done(ended) if ended.run == Some(run.run) => return Ok(ended),
                Settled::Done(_) | Settled::ByOthers => continue,
            }
        }
        let prepared = prepare::all(world, &candidates, who).await?;
        let decisions: Vec<_> = prepared.iter().map(Prepared::decision).collect();
        let ended = |outcome, reasons| Ok(Ended { live: prepare::live(&prepared), ..unchanged(outcome, reasons) });
        match group::flip(&found.record, run, named.as_of, &decisions, who) {
            Next::AlreadyLive => return ended(Outcome::AlreadyLive, Vec::new()),
            Next::Held(hold) => return ended(Outcome::Held, vec![hold.reason]),
            Next::Stale(why) => return ended(Outcome::Stale, vec![why]),
            Next::WentBack(why) => return ended(Outcome::Rejected, vec![why]),
            Next::Flip => {}
        }
        let audited = prepare::audit(world, &prepared, &mut asked).await?;
        let checks = prepare::scanned(&asked);
        let inputs = match audited {
            Ok(inputs) => inputs,
            Err(reasons) => return ended(Outcome::Rejected, reasons).map(|ended| Ended { checks, ..ended }),
        };
        let by = if who == Who::Event { By::Event } else { By::Operator };
        let from = prepared.iter().map(Prepared::at).collect();
        if !found.replace(world, group.name, &found.record.begun(set(world, &candidates, run, by), from)).await? {
            continue;
        }
        let ready = prepare::ready(prepared, inputs);
        if let Settled::Done(ended) = turn::settle(world, group, ready).await? {
            return Ok(Ended { checks: [checks, ended.checks].concat(), ..ended });
        }
    }
    Err(store::busy(group.name))
}

fn set(world: &World, candidates: &[(&Dataset, Manifest)], run: &Run, by: By) -> Set {
    let (as_of, since) = (candidates.iter().map(|(_, manifest)| manifest.as_of).min(), world.clock.now());
    let tables = candidates.iter().map(|(dataset, manifest)| {
        let (generation, location) = (manifest.generation, manifest.location.clone());
        let member = group::Member { table: dataset.table.to_string(), generation, location };
        (dataset.name.clone(), member)
    });
    Set { run: run.run, as_of: as_of.unwrap_or(since), since, by, why: None, tables: tables.collect() }
}

/// The manifests of all members, or the members that have none.
async fn candidates<'a>(
    world: &World,
    group: &Group<'a>,
    run: &Run,
) -> Result<Result<Vec<(&'a Dataset, Manifest)>, Vec<String>>> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for member in &group.members {
        let Some(generation) = run.members.get(&member.name) else { continue };
        match manifest(world, member, generation).await? {
            Some(manifest) => found.push((*member, manifest)),
            None => missing.push(member.name.clone()),
        }
    }
    Ok(if missing.is_empty() { Ok(found) } else { Err(missing) })
}

/// The record of a dataset's group, where it has one.
pub async fn record(world: &World, dataset: &Dataset) -> Result<Option<Record>> {
    let Some(group) = &dataset.group else { return Ok(None) };
    Ok(Some(store::read(world, group).await?.record))
}

/// Generations of a member that readers may have from the group's record, and until when they were named there; `None`:
/// they still are. Nothing of a dataset without a group.
pub async fn named(world: &World, dataset: &Dataset) -> Result<BTreeMap<Generation, Option<Timestamp>>> {
    let record = record(world, dataset).await?;
    Ok(record.map(|record| record.named(&dataset.name, &dataset.home)).unwrap_or_default())
}

/// Why a member's table, which somebody else has moved, is not brought back to its last flip: it would not go with the
/// others.
pub async fn against_repair(world: &World, dataset: &Dataset, last: Generation) -> Result<Option<String>> {
    let Some(group) = &dataset.group else { return Ok(None) };
    let record = store::read(world, group).await?.record;
    if record.flipping.is_some() {
        return Ok(Some(format!("group {group} is flipping: the next look tells what is left")));
    }
    let live = record.live.as_ref().and_then(|live| live.tables.get(&dataset.name));
    let other = live.filter(|member| member.generation != last);
    Ok(other.map(|member| {
        format!("group {group} has {} of it on record as live: ask for a flip or a rollback", member.generation)
    }))
}

//! Makes a run of a group live: load → decide → audit every member → `_groups/GROUP.json` → move all tables → canaries.
//!
//! # Why a group never ends as a mixture of two runs
//!
//! A table is moved only while the group's record names the flip in flight, and only by the `VersionId` that was read.
//! The record is replaced only if its ETag is still the one that was read. So of all invocations that try to begin a
//! flip, exactly one wins. The others find its flip in the record and finish it before they begin their own. Every step
//! is idempotent, so it does not matter whether the invocation that began the flip is still running.
//!
//! - Forward: a table is moved from the location where it was found when the flip began to the location of the run. Its
//!   `VersionId` was read first, then the record. When all tables are there, the record names the run as live.
//! - Back, from the moment that the record says so: each table that has been moved is moved back. Each table that has
//!   not been moved is updated without a change, which gives it a new `VersionId` too (`turn.rs`). Consider an
//!   invocation that still goes forward. If it read the `VersionId` before this update, its `VersionId` is stale. If it
//!   read the `VersionId` after, it also read the record after, and the record says that the flip goes back.
//! - So when a flip is over, in either direction, every `VersionId` that was read for it is stale. No invocation can
//!   move a table for that flip any more. An invocation that begins the next flip has either read the record after
//!   that, or loses the race for the record.
//!
//! One exception: a table that did not exist has no `VersionId`, and a flip never deletes a table. If the flip that
//! creates a table goes back, the new table may stay behind.
//!
//! The generations that the record names as live were live together: all tables were read again after the last of them
//! had been moved.

mod operator;
mod prepare;
mod resume;
mod store;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use ulid::Ulid;

pub use operator::{hold, release, rollback, status};
use prepare::Prepared;
use resume::Settled;

use super::{ATTEMPTS, Outcome, Scanned, candidate, manifest, table_state};
use crate::environment::Environment;
use turntable_core::{
    config::{Dataset, Group},
    decision::{Live, Trigger},
    error::Result,
    group::{self, Next, Record, Set},
    layout::Generation,
    manifest::{GroupRun, Manifest},
    record::FlipOrigin,
};

/// How a request about a group ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFlipReport {
    pub outcome: Outcome,
    pub run: Option<Ulid>,
    pub reasons: Vec<String>,
    /// What is live now, by dataset, for the members whose tables were read.
    pub live: BTreeMap<String, Live>,
    /// What was live before, by dataset, if this request changed it.
    pub previous: BTreeMap<String, Live>,
    /// The checks that ran in Athena, with the bytes that each scanned.
    pub checks: Vec<Scanned>,
    /// The time from the first `UpdateTable` to the last flip record. `None` if no `UpdateTable` was sent.
    pub between: Option<Duration>,
}

impl GroupFlipReport {
    fn unchanged(outcome: Outcome, run: Option<Ulid>, reasons: Vec<String>) -> GroupFlipReport {
        let (live, previous) = (BTreeMap::new(), BTreeMap::new());
        GroupFlipReport { outcome, run, reasons, live, previous, checks: Vec::new(), between: None }
    }

    /// Fills in what is live now for every member.
    async fn with_live(self, env: &Environment, group: &Group<'_>) -> Result<GroupFlipReport> {
        let mut live = BTreeMap::new();
        for member in &group.members {
            live.insert(member.name.clone(), table_state::live(env, member).await?);
        }
        Ok(GroupFlipReport { live, ..self })
    }
}

/// Makes the run of a generation live, if the decisions and audits allow it: all members, or none.
pub async fn flip(
    env: &Environment,
    group: &Group<'_>,
    dataset: &Dataset,
    generation: Generation,
    who: Trigger,
) -> Result<GroupFlipReport> {
    let named = candidate(env, dataset, &generation).await?;
    let Some(run) = &named.group else {
        let why = format!("{generation} of {} was exported without its group: run export again", dataset.name);
        return GroupFlipReport::unchanged(Outcome::Stale, None, vec![why]).with_live(env, group).await;
    };
    let unchanged = |outcome, reasons| GroupFlipReport::unchanged(outcome, Some(run.run), reasons);
    let names: Vec<&str> = group.members.iter().map(|member| member.name.as_str()).collect();
    if let Some(why) = group::other_members(run, &group.name.name, &names) {
        return unchanged(Outcome::Stale, vec![why]).with_live(env, group).await;
    }
    let last = run.last().filter(|last| who == Trigger::Event && *last != dataset.name);
    if let Some(last) = last {
        let why = format!("group {} flips on the manifest of {last}, which is written last", run.group);
        return Ok(unchanged(Outcome::Waiting, vec![why]));
    }
    let candidates = match candidates(env, group, run).await? {
        Ok(candidates) => candidates,
        Err(missing) => {
            let why = format!("no manifest yet for {}", missing.join(", "));
            return unchanged(Outcome::Waiting, vec![why]).with_live(env, group).await;
        }
    };
    let mut asked = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        let found = store::read(env, group.name).await?;
        // A flip in flight is finished first, no matter which invocation began it.
        if found.record.flipping.is_some() {
            match resume::settle(env, group, BTreeMap::new()).await? {
                Settled::Done(ended) if ended.run == Some(run.run) => return Ok(ended),
                Settled::Done(_) | Settled::ByOthers => continue,
            }
        }
        let prepared = prepare::all(env, &candidates, who).await?;
        let decisions: Vec<_> = prepared.iter().map(Prepared::decision).collect();
        let ended =
            |outcome, reasons| Ok(GroupFlipReport { live: prepare::live(&prepared), ..unchanged(outcome, reasons) });
        match group::flip(&found.record, run, named.as_of, &decisions, who) {
            Next::AlreadyLive => return ended(Outcome::AlreadyLive, Vec::new()),
            Next::Held(hold) => return ended(Outcome::Held, vec![hold.reason]),
            Next::Stale(why) => return ended(Outcome::Stale, vec![why]),
            Next::WentBack(why) => return ended(Outcome::Rejected, vec![why]),
            Next::Flip => {}
        }
        let audited = prepare::audit(env, &prepared, &mut asked).await?;
        let checks = prepare::scanned(&asked);
        let inputs = match audited {
            Ok(inputs) => inputs,
            Err(reasons) => return ended(Outcome::Rejected, reasons).map(|ended| GroupFlipReport { checks, ..ended }),
        };
        let by = if who == Trigger::Event { FlipOrigin::Event } else { FlipOrigin::Operator };
        let from = prepared.iter().map(Prepared::at).collect();
        if !found.replace(env, group.name, &found.record.head(set(env, &candidates, run, by), from)).await? {
            continue;
        }
        let ready = prepare::ready(prepared, inputs);
        if let Settled::Done(ended) = resume::settle(env, group, ready).await? {
            return Ok(GroupFlipReport { checks: [checks, ended.checks].concat(), ..ended });
        }
    }
    Err(store::busy(group.name))
}

fn set(env: &Environment, candidates: &[(&Dataset, Manifest)], run: &GroupRun, by: FlipOrigin) -> Set {
    let (as_of, since) = (candidates.iter().map(|(_, manifest)| manifest.as_of).min(), env.clock.now());
    let tables = candidates.iter().map(|(dataset, manifest)| {
        let (generation, location) = (manifest.generation, manifest.location.clone());
        let member = group::Member { table: dataset.table.to_string(), generation, location };
        (dataset.name.clone(), member)
    });
    Set { run: run.run, as_of: as_of.unwrap_or(since), since, by, why: None, tables: tables.collect() }
}

/// Reads the manifests of all members. The inner `Err` lists the members that have none.
async fn candidates<'a>(
    env: &Environment,
    group: &Group<'a>,
    run: &GroupRun,
) -> Result<Result<Vec<(&'a Dataset, Manifest)>, Vec<String>>> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for member in &group.members {
        let Some(generation) = run.members.get(&member.name) else { continue };
        match manifest(env, member, generation).await? {
            Some(manifest) => found.push((*member, manifest)),
            None => missing.push(member.name.clone()),
        }
    }
    Ok(if missing.is_empty() { Ok(found) } else { Err(missing) })
}

/// Reads the record of a dataset's group. Returns `None` if the dataset has no group.
pub async fn record(env: &Environment, dataset: &Dataset) -> Result<Option<Record>> {
    let Some(group) = &dataset.group else { return Ok(None) };
    Ok(Some(store::read(env, group).await?.record))
}

/// Returns the generations of a member that readers may have learned from the group's record, each with the time at
/// which the record ceased to name it. `None` means that the record still names it. Empty for a dataset without a
/// group.
pub async fn named(env: &Environment, dataset: &Dataset) -> Result<BTreeMap<Generation, Option<Timestamp>>> {
    let record = record(env, dataset).await?;
    Ok(record.map(|record| record.named(&dataset.name, &dataset.paths)).unwrap_or_default())
}

/// Returns why a member's drift must not be repaired, or `None` if it may be.
///
/// A repair brings the table back to its last flip. It must wait while a flip of the group is in flight. It must not
/// happen if the group's record names another generation as live: the table would no longer match the other members.
pub async fn against_repair(env: &Environment, dataset: &Dataset, last: Generation) -> Result<Option<String>> {
    let Some(group) = &dataset.group else { return Ok(None) };
    let record = store::read(env, group).await?.record;
    if record.flipping.is_some() {
        return Ok(Some(format!("group {group} has a flip in flight: check the status again when it is over")));
    }
    let live = record.live.as_ref().and_then(|live| live.tables.get(&dataset.name));
    let other = live.filter(|member| member.generation != last);
    Ok(other.map(|member| {
        format!(
            "the record of group {group} names {} as live: invoke flip with a generation or a rollback",
            member.generation
        )
    }))
}

//! What only an operator asks for, of a whole group.

use std::collections::BTreeMap;

use super::{ATTEMPTS, Ended, Settled, store, turn};
use crate::{
    environment::World,
    publish::{Look, Outcome, look},
};
use turntable_core::{
    config::{Dataset, Group},
    error::{Error, Kind, Result},
    group::{self, Record, Set},
    layout::Generation,
    record::{By, Hold},
};

/// All members go back to what was live together before live, or to the set with the named generation of a dataset. A
/// hold does not stop it. From the moment that it returns, no event of an export that began before undoes it.
pub async fn rollback(
    world: &World,
    group: &Group<'_>,
    dataset: &Dataset,
    wanted: Option<Generation>,
    reason: Option<String>,
) -> Result<Ended> {
    for _ in 0..ATTEMPTS {
        let found = store::read(world, group.name).await?;
        if found.record.flipping.is_some() {
            turn::settle(world, group, BTreeMap::new()).await?;
            continue;
        }
        let target = group::rollback(&found.record, &dataset.name, wanted)?;
        let to = Set { since: world.clock.now(), by: By::Rollback, why: reason.clone(), ..target };
        same_members(group, &to)?;
        let (mut ready, mut from, mut against) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for member in &group.members {
            let Some(target) = to.tables.get(&member.name) else { continue };
            let look = Look::at(world, member, &target.generation).await?;
            let at = look.state.live.location(&member.home);
            let is_there = at.as_ref() == Some(&target.location);
            from.insert(member.name.clone(), at);
            if is_there {
                continue;
            }
            match turn::ready(world, member, target, look, member.schema.back()).await {
                Ok(one) => drop(ready.insert(member.name.clone(), one)),
                Err(error) if error.kind() == Kind::Rejected => {
                    against.push(format!("{}: {}", member.name, error.message()));
                }
                Err(error) => return Err(error),
            }
        }
        let ended = |outcome, reasons| Ended::unchanged(outcome, Some(to.run), reasons).with_live(world, group);
        if !against.is_empty() {
            return ended(Outcome::Rejected, against).await;
        }
        if ready.is_empty() && found.record.live.as_ref().is_some_and(|live| live.run == to.run) {
            return ended(Outcome::AlreadyLive, Vec::new()).await;
        }
        if !found.replace(world, group.name, &found.record.begun(to.clone(), from)).await? {
            continue;
        }
        return match turn::settle(world, group, ready).await? {
            Settled::Done(ended) => Ok(ended),
            Settled::ByOthers => by_others(world, group, &to).await,
        };
    }
    Err(store::busy(group.name))
}

/// What others made of a rollback that they have finished.
async fn by_others(world: &World, group: &Group<'_>, to: &Set) -> Result<Ended> {
    let record = store::read(world, group.name).await?.record;
    let (outcome, why) = match (&record.live, &record.went_back) {
        (Some(live), _) if live.run == to.run => (Outcome::Swapped, Vec::new()),
        (_, Some(back)) if back.run == to.run => (Outcome::Rejected, vec![back.why.clone()]),
        _ => (Outcome::Stale, vec![format!("run {} was live, and a fresher one has come since", to.run)]),
    };
    Ended::unchanged(outcome, Some(to.run), why).with_live(world, group).await
}

fn same_members(group: &Group<'_>, set: &Set) -> Result<()> {
    if group.members.iter().map(|member| &member.name).eq(set.tables.keys()) {
        return Ok(());
    }
    Err(Error::input(format!(
        "group {}: run {} is of {}, and the group has other members now: export it",
        group.name,
        set.run,
        set.tables.keys().cloned().collect::<Vec<_>>().join(", ")
    )))
}

/// Stops flips of all members, not exports, from the moment that it returns.
pub async fn hold(world: &World, group: &Group<'_>, reason: String) -> Result<()> {
    write_hold(world, group, Hold { at: world.clock.now(), reason, released: false }).await
}

/// Ends the group's hold, and those of members from before they joined.
pub async fn release(world: &World, group: &Group<'_>, reason: Option<String>) -> Result<()> {
    for member in &group.members {
        if look::hold(world, member).await?.is_some() {
            crate::publish::release(world, member, reason.clone()).await?;
        }
    }
    let reason = reason.unwrap_or_default();
    write_hold(world, group, Hold { at: world.clock.now(), reason, released: true }).await
}

/// What is under way is finished first: a hold stops whole flips, and none midway.
async fn write_hold(world: &World, group: &Group<'_>, hold: Hold) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let found = store::read(world, group.name).await?;
        if found.record.flipping.is_some() {
            turn::settle(world, group, BTreeMap::new()).await?;
        } else if found.replace(world, group.name, &found.record.with_hold(hold.clone())).await? {
            return Ok(());
        }
    }
    Err(store::busy(group.name))
}

/// For a person: what is live, and what is on record.
pub async fn status(world: &World, group: &Group<'_>) -> Result<(Ended, Record)> {
    let record = store::read(world, group.name).await?.record;
    let run = record.live.as_ref().map(|live| live.run);
    let ended = Ended::unchanged(Outcome::Status, run, record.unfinished().into_iter().collect());
    Ok((ended.with_live(world, group).await?, record))
}

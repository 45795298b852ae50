//! Handles operators' requests for a whole group: rollback, hold, release and status.

use std::collections::BTreeMap;

use super::{
    report::GroupFlipReport,
    resume::{self, Settled},
    store,
};
use crate::{
    environment::Environment,
    publish::{attempts::Attempts, operator, report::Outcome, table_state::TableState},
};
use turntable_core::{
    config::{Dataset, Group},
    error::{Error, Kind, Result},
    group::{self, Record, Set},
    layout::Generation,
    record::{self, FlipOrigin, Hold},
};

/// Flips all members back to the set that was live before the current one, or to the set that contains the generation
/// `wanted` of `dataset`.
///
/// A hold does not prevent a rollback. Once a rollback has returned, no event from an export that started earlier
/// undoes it.
pub async fn rollback(
    env: &Environment,
    group: &Group<'_>,
    dataset: &Dataset,
    wanted: Option<Generation>,
    reason: Option<String>,
) -> Result<GroupFlipReport> {
    let mut attempts = Attempts::on(group.name.record());
    loop {
        attempts.begin()?;
        let found = store::read(env, group.name).await?;
        if found.record.flipping.is_some() {
            resume::settle(env, group, BTreeMap::new()).await?;
            continue;
        }
        let target = group::rollback(&found.record, &dataset.name, wanted)?;
        let to = Set { since: env.clock.now(), by: FlipOrigin::Rollback, why: reason.clone(), ..target };
        check_members(group, &to)?;
        let (mut ready, mut from, mut against) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for member in &group.members {
            let Some(target) = to.tables.get(&member.name) else { continue };
            let loaded = TableState::at(env, member, &target.generation).await?;
            let at = loaded.state.live.location(&member.paths);
            let is_there = at.as_ref() == Some(&target.location);
            from.insert(member.name.clone(), at);
            if is_there {
                continue;
            }
            match resume::ready(env, member, target, loaded, member.schema.back()).await {
                Ok(one) => drop(ready.insert(member.name.clone(), one)),
                Err(error) if error.kind() == Kind::Rejected => {
                    against.push(format!("{}: {}", member.name, error.message()));
                }
                Err(error) => return Err(error),
            }
        }
        let ended = |outcome, reasons| GroupFlipReport::unchanged(outcome, Some(to.run), reasons).with_live(env, group);
        if !against.is_empty() {
            return ended(Outcome::Rejected, against).await;
        }
        if ready.is_empty() && found.record.live.as_ref().is_some_and(|live| live.run == to.run) {
            return ended(Outcome::AlreadyLive, Vec::new()).await;
        }
        if !found.replace(env, group.name, &found.record.begin_flip(to.clone(), from)).await? {
            continue;
        }
        return match resume::settle(env, group, ready).await? {
            Settled::Done(ended) => Ok(ended),
            Settled::ByOthers => by_others(env, group, &to).await,
        };
    }
}

/// Returns the outcome of a rollback that another invocation has finished.
async fn by_others(env: &Environment, group: &Group<'_>, to: &Set) -> Result<GroupFlipReport> {
    let record = store::read(env, group.name).await?.record;
    let (outcome, why) = match (&record.live, &record.went_back) {
        (Some(live), _) if live.run == to.run => (Outcome::Committed, Vec::new()),
        (_, Some(back)) if back.run == to.run => (Outcome::Rejected, vec![back.why.clone()]),
        _ => (Outcome::Stale, vec![format!("run {} was live, but another run has gone live since", to.run)]),
    };
    GroupFlipReport::unchanged(outcome, Some(to.run), why).with_live(env, group).await
}

/// Checks that the group's members are still those in the set.
fn check_members(group: &Group<'_>, set: &Set) -> Result<()> {
    if group.members.iter().map(|member| &member.name).eq(set.tables.keys()) {
        return Ok(());
    }
    Err(Error::input(format!(
        "group {}: run {} has the members {}, but the group's members have changed since: invoke export instead",
        group.name,
        set.run,
        set.tables.keys().cloned().collect::<Vec<_>>().join(", ")
    )))
}

/// Writes a hold for the whole group. Once this has returned, only a rollback can flip the members until the hold is
/// released. Exports continue.
pub async fn hold(env: &Environment, group: &Group<'_>, reason: String) -> Result<()> {
    let hold = Hold { at: env.clock.now(), reason, released: false };
    write_hold(env, group, hold.clone()).await?;
    // Each member has the hold too, so that it stays with a member that leaves the group.
    for member in &group.members {
        env.objects.put(&member.paths.hold(), record::to_json(&hold).into()).await?;
    }
    Ok(())
}

/// Releases the group's hold, and any holds that were set on single members before they joined the group.
pub async fn release(env: &Environment, group: &Group<'_>, reason: Option<String>) -> Result<()> {
    for member in &group.members {
        operator::release(env, member, reason.clone()).await?;
    }
    let reason = reason.unwrap_or_default();
    write_hold(env, group, Hold { at: env.clock.now(), reason, released: true }).await
}

/// Writes `hold` to the group's record. If a flip is in flight, finishes it first, because a hold must not stop a flip
/// halfway.
async fn write_hold(env: &Environment, group: &Group<'_>, hold: Hold) -> Result<()> {
    let mut attempts = Attempts::on(group.name.record());
    loop {
        attempts.begin()?;
        let found = store::read(env, group.name).await?;
        if found.record.flipping.is_some() {
            resume::settle(env, group, BTreeMap::new()).await?;
        } else if found.replace(env, group.name, &found.record.with_hold(hold.clone())).await? {
            return Ok(());
        }
    }
}

/// Returns what is live for every member, and the group's record. Changes nothing.
pub async fn status(env: &Environment, group: &Group<'_>) -> Result<(GroupFlipReport, Record)> {
    let record = store::read(env, group.name).await?.record;
    let run = record.live.as_ref().map(|live| live.run);
    let ended = GroupFlipReport::unchanged(Outcome::Status, run, record.unfinished().into_iter().collect());
    Ok((ended.with_live(env, group).await?, record))
}

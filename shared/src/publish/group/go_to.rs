//! Moves all members of a group to a set that was live before: for a rollback, or because files in the live set were
//! lost.

use std::collections::BTreeMap;

use super::{
    report::GroupFlipReport,
    resume::{self, Settled},
    store::{self, Found},
};
use crate::{
    environment::Environment,
    publish::{report::Outcome, table_state::TableState},
};
use turntable_core::{
    config::Group,
    error::{Error, Kind, Result},
    group::Set,
};

/// Moves all members to the set, and returns the outcome. `found` is the group's record, with no flip in flight.
///
/// Returns `None` if another invocation has replaced the record since: read it again and retry.
pub async fn go_to(env: &Environment, group: &Group<'_>, found: &Found, to: &Set) -> Result<Option<GroupFlipReport>> {
    check_members(group, to)?;
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
        return ended(Outcome::Rejected, against).await.map(Some);
    }
    if ready.is_empty() && found.record.live.as_ref().is_some_and(|live| live.run == to.run) {
        return ended(Outcome::AlreadyLive, Vec::new()).await.map(Some);
    }
    if !found.replace(env, group.name, &found.record.begin_flip(to.clone(), from)).await? {
        return Ok(None);
    }
    match resume::settle(env, group, ready).await? {
        Settled::Done(ended) => Ok(Some(ended)),
        Settled::ByOthers => by_others(env, group, to).await.map(Some),
    }
}

/// Returns the outcome for a flip that another invocation has finished.
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
    if has_members(group, set) {
        return Ok(());
    }
    Err(Error::input(format!(
        "group {}: run {} has the members {}, but the group's members have changed since: invoke export instead",
        group.name,
        set.run,
        set.tables.keys().cloned().collect::<Vec<_>>().join(", ")
    )))
}

/// Returns whether the group's members are the same as those in the set.
pub fn has_members(group: &Group<'_>, set: &Set) -> bool {
    group.members.iter().map(|member| &member.name).eq(set.tables.keys())
}

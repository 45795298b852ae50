//! Handles operators' requests for a whole group: rollback, hold, release and status.

use std::collections::BTreeMap;

use super::{go_to::go_to, report::GroupFlipReport, resume, store};
use crate::{
    environment::Environment,
    publish::{attempts::Attempts, operator, report::Outcome},
};
use turntable_core::{
    config::{Dataset, Group},
    error::Result,
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
        let to = Set {
            since: env.clock.now(),
            by: FlipOrigin::Rollback,
            why: reason.clone(),
            request_id: env.request_id(),
            ..target
        };
        if let Some(ended) = go_to(env, group, &found, &to).await? {
            return Ok(ended);
        }
    }
}

/// Writes a hold for the whole group. Once this has returned, only a rollback can flip the members until the hold is
/// released. Exports continue.
pub async fn hold(env: &Environment, group: &Group<'_>, reason: String) -> Result<()> {
    let hold = Hold { at: env.clock.now(), reason, released: false, request_id: env.request_id() };
    write_hold(env, group, hold.clone()).await?;
    // Each member also gets the hold, so that a member that leaves the group keeps it.
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
    write_hold(env, group, Hold { at: env.clock.now(), reason, released: true, request_id: env.request_id() }).await
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

/// Returns what is live for each member, and the group's record. Changes nothing.
pub async fn status(env: &Environment, group: &Group<'_>) -> Result<(GroupFlipReport, Record)> {
    let record = store::read(env, group.name).await?.record;
    let run = record.live.as_ref().map(|live| live.run);
    let ended = GroupFlipReport::unchanged(Outcome::Status, run, record.unfinished().into_iter().collect());
    Ok((ended.with_live(env, group).await?, record))
}

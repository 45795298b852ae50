//! Handles requests for members of groups. A request for one member applies to its whole group.

use turntable_core::{
    config::{Dataset, Group},
    decision::Trigger,
    error::Result,
};
use turntable_events as request;

use super::{
    answer::{Flipped, FlippedGroup},
    dataset,
};
use crate::{
    environment::Environment,
    publish::{Outcome, group},
};

/// Handles a request for the whole group. The response's fields outside `group` describe `member`.
pub async fn act(env: &Environment, group: &Group<'_>, member: &Dataset, request: request::Flip) -> Result<Flipped> {
    let ended = match request {
        request::Flip::Manifest(_, generation) => group::flip(env, group, member, generation, Trigger::Event).await?,
        request::Flip::Candidate { generation, .. } => {
            group::flip(env, group, member, generation, Trigger::Operator).await?
        }
        request::Flip::Rollback { generation, reason, .. } => {
            group::rollback(env, group, member, generation, reason).await?
        }
        request::Flip::Hold { reason, .. } => {
            group::hold(env, group, reason).await?;
            return with_status(env, group, member, Outcome::Held).await;
        }
        request::Flip::Release { reason, .. } => {
            group::release(env, group, reason).await?;
            return with_status(env, group, member, Outcome::Status).await;
        }
        // Requests about old tables are handled elsewhere, because they aren't about one configured table.
        request::Flip::Status { .. }
        | request::Flip::Retire { .. }
        | request::Flip::Rename { .. }
        | request::Flip::Move { .. } => {
            return with_status(env, group, member, Outcome::Status).await;
        }
        // Drift concerns one table only, not the group.
        request::Flip::Changed(_) => return dataset::act(env, member, request).await,
    };
    Ok(Flipped::of_group(&member.name, &group.name.name, ended))
}

/// Returns a response with `outcome`, the member's status and its group's record.
async fn with_status(env: &Environment, group: &Group<'_>, member: &Dataset, outcome: Outcome) -> Result<Flipped> {
    let (ended, record) = group::status(env, group).await?;
    let Flipped { group: together, reasons, .. } = Flipped::of_group(&member.name, &group.name.name, ended);
    let mut flipped = dataset::with_status(env, member, outcome).await?;
    flipped.reasons.extend(reasons);
    if let Some(status) = &mut flipped.status {
        status.hold = record.held().cloned().or(status.hold.take());
    }
    flipped.group = together.map(|together| FlippedGroup { record: Some(record), ..together });
    Ok(flipped)
}

//! Handles requests for members of groups: a request for one member applies to its whole group.

use turntable::{
    answer::{Flipped, FlippedGroup},
    config::{Dataset, Group},
    decision::Trigger,
    environment::Environment,
    error::Result,
    publish::{Outcome, group},
    request,
};

/// Carries out the request for the group, and returns the answer from the point of view of `dataset`.
pub async fn act(env: &Environment, group: &Group<'_>, dataset: &Dataset, request: request::Flip) -> Result<Flipped> {
    let ended = match request {
        request::Flip::Manifest(_, generation) => group::flip(env, group, dataset, generation, Trigger::Event).await?,
        request::Flip::Candidate { generation, .. } => {
            group::flip(env, group, dataset, generation, Trigger::Operator).await?
        }
        request::Flip::Rollback { generation, reason, .. } => {
            group::rollback(env, group, dataset, generation, reason).await?
        }
        request::Flip::Hold { reason, .. } => {
            group::hold(env, group, reason).await?;
            return loaded(env, group, dataset, Outcome::Held).await;
        }
        request::Flip::Release { reason, .. } => {
            group::release(env, group, reason).await?;
            return loaded(env, group, dataset, Outcome::Status).await;
        }
        request::Flip::Status { .. } => return loaded(env, group, dataset, Outcome::Status).await,
        // Drift concerns one table, so the group is left out.
        request::Flip::Changed(_) => return super::act(env, dataset, request).await,
    };
    Ok(Flipped::of_group(&dataset.name, &group.name.name, ended))
}

/// Returns the dataset's status, with its group's record.
async fn loaded(env: &Environment, group: &Group<'_>, dataset: &Dataset, outcome: Outcome) -> Result<Flipped> {
    let (ended, record) = group::status(env, group).await?;
    let Flipped { group: together, reasons, .. } = Flipped::of_group(&dataset.name, &group.name.name, ended);
    let mut flipped = super::loaded(env, dataset, outcome).await?;
    flipped.reasons.extend(reasons);
    if let Some(status) = &mut flipped.status {
        status.hold = record.held().cloned().or(status.hold.take());
    }
    flipped.group = together.map(|together| FlippedGroup { record: Some(record), ..together });
    Ok(flipped)
}

//! What is asked of a member is asked of its group.

use turntable::{
    answer::{Flipped, FlippedGroup},
    config::{Dataset, Group},
    decision::Who,
    environment::World,
    error::Result,
    publish::{Outcome, group},
    request,
};

pub async fn act(world: &World, group: &Group<'_>, dataset: &Dataset, request: request::Flip) -> Result<Flipped> {
    let ended = match request {
        request::Flip::Manifest(_, generation) => group::flip(world, group, dataset, generation, Who::Event).await?,
        request::Flip::Candidate { generation, .. } => {
            group::flip(world, group, dataset, generation, Who::Operator).await?
        }
        request::Flip::Rollback { generation, reason, .. } => {
            group::rollback(world, group, dataset, generation, reason).await?
        }
        request::Flip::Hold { reason, .. } => {
            group::hold(world, group, reason).await?;
            return look(world, group, dataset, Outcome::Held).await;
        }
        request::Flip::Release { reason, .. } => {
            group::release(world, group, reason).await?;
            return look(world, group, dataset, Outcome::Status).await;
        }
        request::Flip::Status { .. } => return look(world, group, dataset, Outcome::Status).await,
        // What somebody else did to one table is told of that table.
        request::Flip::Changed(_) => return super::act(world, dataset, request).await,
    };
    Ok(Flipped::of_group(&dataset.name, &group.name.name, ended))
}

/// The dataset as it is now, and what its group has on record.
async fn look(world: &World, group: &Group<'_>, dataset: &Dataset, outcome: Outcome) -> Result<Flipped> {
    let (ended, record) = group::status(world, group).await?;
    let Flipped { group: together, reasons, .. } = Flipped::of_group(&dataset.name, &group.name.name, ended);
    let mut flipped = super::look(world, dataset, outcome).await?;
    flipped.reasons.extend(reasons);
    if let Some(status) = &mut flipped.status {
        status.hold = record.held().cloned().or(status.hold.take());
    }
    flipped.group = together.map(|together| FlippedGroup { record: Some(record), ..together });
    Ok(flipped)
}

//! Handles requests that concern one table: all requests for a dataset without a group, and events about a changed
//! table.

use turntable_core::{config::Dataset, decision::Trigger, error::Result};
use turntable_events as request;

use super::answer::Flipped;
use crate::{
    environment::Environment,
    publish::{self, FlipReport, Outcome},
    status,
};

/// Handles a request for a dataset that has no group, or a change of any dataset's table.
pub(super) async fn act(env: &Environment, dataset: &Dataset, request: request::Flip) -> Result<Flipped> {
    let ended = match request {
        request::Flip::Manifest(_, generation) => {
            Box::pin(publish::flip(env, dataset, generation, Trigger::Event)).await?
        }
        request::Flip::Candidate { generation, .. } => {
            Box::pin(publish::flip(env, dataset, generation, Trigger::Operator)).await?
        }
        request::Flip::Rollback { generation, reason, .. } => {
            Box::pin(publish::rollback(env, dataset, generation, reason)).await?
        }
        request::Flip::Hold { reason, .. } => {
            publish::hold(env, dataset, reason).await?;
            return with_status(env, dataset, Outcome::Held).await;
        }
        request::Flip::Release { reason, .. } => {
            publish::release(env, dataset, reason).await?;
            return with_status(env, dataset, Outcome::Status).await;
        }
        request::Flip::Changed(_) => match publish::detect_and_repair(env, dataset).await? {
            Some(ended) => ended,
            None => FlipReport {
                outcome: Outcome::Status,
                live: publish::live(env, dataset).await?,
                previous: None,
                reasons: Vec::new(),
                checks: Vec::new(),
            },
        },
        // Requests about old tables are handled elsewhere, because they aren't about one configured table.
        request::Flip::Status { .. }
        | request::Flip::Retire { .. }
        | request::Flip::Rename { .. }
        | request::Flip::Move { .. } => {
            return with_status(env, dataset, Outcome::Status).await;
        }
    };
    Ok(Flipped::new(&dataset.name, ended))
}

/// Returns a response with `outcome` and the dataset's status.
pub(super) async fn with_status(env: &Environment, dataset: &Dataset, outcome: Outcome) -> Result<Flipped> {
    let (ended, status) = status::status(env, dataset).await?;
    Ok(Flipped { outcome, status: Some(status), ..Flipped::new(&dataset.name, ended) })
}

//! Queues the datasets that are built from a table that has flipped.
//!
//! The flip's record is the event. If it is lost, sweep makes up for it.

use serde_json::json;
use tracing::info;
use turntable_core::{
    config::Config,
    error::Result,
    layout::{Key, TablePaths},
    record::{Canary, Flip},
};

use super::{answer::Answer, environment::Export};

/// Queues one message for each dataset or group that is refreshed after flips of this table. Whether its other inputs
/// have flipped too is decided when the message is handled.
pub(super) async fn flipped(export: &Export, config: &Config, paths: &TablePaths, record: &Key) -> Result<Answer> {
    let nothing = Answer::Queued { queued: Vec::new() };
    // A bucket may hold tables of several stacks, and each receives the events of all.
    let Ok(input) = config.dataset_at(paths) else { return Ok(nothing) };
    let dependants: Vec<String> = config.dependants(&input.name).map(|dataset| dataset.name.clone()).collect();
    if dependants.is_empty() {
        return Ok(nothing);
    }
    // While its canary is pending, the table may still go back. The record is written again when the canary has passed.
    let flip: Option<Flip> = export.env.record(record).await?;
    if flip.is_some_and(|flip| flip.canary == Some(Canary::Pending)) {
        return Ok(nothing);
    }
    let message = |name: &String| json!({ "dataset": name, "inputs": true }).to_string();
    export.queue.send(dependants.iter().map(message).collect()).await?;
    info!(dataset = input.name, ?dependants, "flipped");
    Ok(Answer::Queued { queued: dependants })
}

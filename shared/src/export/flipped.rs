//! Queues the datasets that are built from a table that has flipped.
//!
//! The S3 event for the flip record triggers this. If the event is lost, sweep makes up for it.

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
/// have also flipped is checked when the message is handled.
pub(super) async fn flipped(export: &Export, config: &Config, paths: &TablePaths, record: &Key) -> Result<Answer> {
    let nothing = Answer::Queued { queued: Vec::new() };
    // A bucket may contain several stacks' tables, and each stack receives the events for all of them.
    let Ok(input) = config.dataset_at(paths) else { return Ok(nothing) };
    let dependants: Vec<String> = config.dependants(&input.name).map(|dataset| dataset.name.clone()).collect();
    if dependants.is_empty() {
        return Ok(nothing);
    }
    // While the canary is pending, the table may still go back. After it passes, the record is written again.
    let flip: Option<Flip> = export.env.record(record).await?;
    if flip.is_some_and(|flip| flip.canary == Some(Canary::Pending)) {
        return Ok(nothing);
    }
    let message = |name: &String| json!({ "dataset": name, "inputs": true }).to_string();
    export.queue.send(dependants.iter().map(message).collect()).await?;
    info!(dataset = input.name, ?dependants, "flipped");
    Ok(Answer::Queued { queued: dependants })
}

//! Notes puts into datasets' sources, and queues one export for all puts that come before it begins.
//!
//! A put's event says only that the source may have changed. When the message about it is handled, the source's objects
//! are compared with those that the newest generation was built from, so an event that comes twice or late, or about an
//! object that the source ignores, starts no export. If an event is lost, sweep makes up for it; if a message is lost,
//! the next tick does.

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use tracing::{info, warn};
use turntable_core::{
    config::{Config, Dataset},
    error::Result,
    layout::Key,
    refresh::Record,
};

use super::{
    answer::Answer,
    environment::Export,
    refreshes::{self, Noted},
    unread::message,
};

/// How many records a tick reads at the same time.
const READS: usize = 16;

/// Handles the events of these new objects. Returns the datasets whose export was queued.
pub(super) async fn put(export: &Export, config: &Config, keys: &[Key]) -> Result<Answer> {
    let (mut queued, mut failed) = (Vec::new(), None);
    for (dataset, files) in config.refreshed_on_put() {
        if !keys.iter().any(|key| files.reads(key)) {
            continue;
        }
        match note(export, dataset).await {
            Ok(true) => queued.push(dataset.name.clone()),
            Ok(false) => {}
            Err(error) => {
                warn!(dataset = dataset.name, error = error.report(), "a put was not noted");
                failed = Some(error.of(&dataset.name));
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(Answer::Queued { queued }),
    }
}

/// Notes a put. Returns whether a message was sent. None is sent if one is already on its way, or if a run is in
/// progress, because another run follows it.
async fn note(export: &Export, dataset: &Dataset) -> Result<bool> {
    let Some(refresh) = &dataset.refresh else { return Ok(false) };
    if refreshes::note_put(&export.env, dataset).await? == Noted::Known {
        return Ok(false);
    }
    let after = refresh.settle().try_into().unwrap_or_default();
    export.queue.send_later(message(&dataset.name), after).await?;
    info!(dataset = dataset.name, settle = ?refresh.settle(), "put");
    Ok(true)
}

/// Queues the datasets whose puts have settled but still wait: a function died between noting the put and sending the
/// message. Makes one request for each dataset with `on_put`.
pub(super) async fn queue_overdue(export: &Export, config: &Config, now: Timestamp) -> Result<Vec<String>> {
    let env = &export.env;
    let look = async |(dataset, settle): (&Dataset, _)| -> Result<Option<String>> {
        let record: Record = env.record(&dataset.paths.refresh()).await?.unwrap_or_default();
        Ok(record.has_overdue_put(settle, now).then(|| dataset.name.clone()))
    };
    let all = config.refreshed_on_put().filter_map(|(dataset, _)| Some((dataset, dataset.refresh.as_ref()?.settle())));
    let all: Vec<_> = all.map(look).collect();
    let found: Vec<Option<String>> = stream::iter(all).buffered(READS).try_collect().await?;
    let found: Vec<String> = found.into_iter().flatten().collect();
    if !found.is_empty() {
        export.queue.send(found.iter().map(|name| message(name)).collect()).await?;
        info!(datasets = ?found, "puts whose messages were lost");
    }
    Ok(found)
}

//! Queues the datasets that have become due by their own schedules.
//!
//! A tick reads which due times have already been queued, queues the latest new due time of each dataset, and then
//! stores these due times. So the next tick makes up for a late or lost one, with one run. If a tick dies before it has
//! stored the due times, the next tick queues them again, and [`super::refreshes`] lets only one of the messages run.
//!
//! A tick also looks for puts whose messages were lost.

use jiff::Timestamp;
use serde_json::json;
use tracing::info;
use turntable_core::{
    config::Config,
    due::{Due, LastDue, due, has_schedules},
    error::{Error, Result},
    record,
};

use super::{answer::Answer, environment::Export, puts};

/// Queues one message for each dataset or group that has become due. If nothing is due, this makes few requests after
/// reading datasets.toml: one if any dataset has a schedule, and one for each dataset with `on_put`.
pub(super) async fn tick(export: &Export, config: &Config) -> Result<Answer> {
    let now = export.env.clock.now();
    let mut queued = if has_schedules(config) { queue_due(export, config, now).await? } else { Vec::new() };
    queued.extend(puts::queue_overdue(export, config, now).await?);
    Ok(Answer::Queued { queued })
}

async fn queue_due(export: &Export, config: &Config, now: Timestamp) -> Result<Vec<String>> {
    let env = &export.env;
    let key = env.stack_record("refresh.json").ok_or_else(|| {
        Error::config("a tick keeps the due times next to datasets.toml, which must be in S3: set DATASETS to s3://…")
    })?;
    let last: LastDue = env.record(&key).await?.unwrap_or_default();
    let (found, next) = due(config, &last, now);
    let message = |due: &Due| json!({ "dataset": due.dataset, "due": due.at }).to_string();
    if !found.is_empty() {
        export.queue.send(found.iter().map(message).collect()).await?;
        info!(datasets = found.len(), "due");
    }
    if next != last {
        // This write isn't conditional. If two ticks run at once, an older time may be stored, and a message is sent
        // again, which does nothing.
        env.objects.put(&key, record::to_json(&next).into()).await?;
    }
    Ok(found.into_iter().map(|due| due.dataset).collect())
}

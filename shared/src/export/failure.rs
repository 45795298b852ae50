//! Records a dataset's last failed export, so that `status` can report it.

use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;
use turntable_core::{
    config::Dataset,
    error::{Error, Result},
    layout::{TablePaths, time_of},
    record::{self, ExportFailure},
};

use crate::environment::Environment;

/// Records a failed export, which is retried after `retry`, or never if `retry` is `None`. If the record can't be
/// written, this is only logged, because the failed export itself is reported anyway.
pub(super) async fn write(env: &Environment, dataset: &Dataset, failure: &Error, retry: Option<Duration>) {
    let at = env.clock.now();
    let since = first_failure(env, dataset).await.unwrap_or_else(|error| {
        warn!(dataset = dataset.name, error = error.report(), "earlier failed export not read");
        None
    });
    let record = ExportFailure {
        at,
        since,
        retry_at: retry.and_then(|retry| at.checked_add(retry).ok()),
        error: failure.kind().as_str().into(),
        reason: failure.report(),
    };
    let key = dataset.paths.export_failure();
    if let Err(error) = env.objects.put(&key, record::to_json(&record).into()).await {
        warn!(dataset = dataset.name, key = %key, error = error.report(), "failed export not recorded");
    }
}

/// Returns the time of the first failure since the last complete generation, or `None` if no failure is on record.
async fn first_failure(env: &Environment, dataset: &Dataset) -> Result<Option<Timestamp>> {
    let Some(before) = env.record::<ExportFailure>(&dataset.paths.export_failure()).await? else { return Ok(None) };
    let manifests = env.objects.list(&dataset.paths.manifests(), None).await?;
    let complete = manifests.iter().filter_map(|entry| TablePaths::parse_manifest(&entry.key));
    let newest = complete.map(|(_, generation)| time_of(generation.ulid)).max();
    Ok(newest.is_none_or(|newest| newest < before.at).then(|| before.since.unwrap_or(before.at)))
}

/// Records the failure of a queue message. The failure names the dataset, unless the message or `datasets.toml`
/// couldn't be read.
pub(super) async fn write_for_message(env: &Environment, failure: &Error, retry: Option<Duration>) {
    let Some(name) = failure.dataset() else { return };
    let Ok(config) = env.config().await else { return };
    if let Ok(dataset) = config.dataset(name) {
        write(env, dataset, failure, retry).await;
    }
}

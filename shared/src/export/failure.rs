//! The record of a dataset's last export that failed for good, so that `status` can report it.

use tracing::warn;
use turntable_core::{
    config::Dataset,
    error::Error,
    record::{self, ExportFailure},
};

use crate::environment::Environment;

/// Records a failed export. A failure to do so is only logged, because the export's own failure is reported anyway.
pub(super) async fn write(env: &Environment, dataset: &Dataset, failure: &Error) {
    let record = ExportFailure { at: env.clock.now(), error: failure.kind().as_str().into(), reason: failure.report() };
    let key = dataset.paths.export_failure();
    if let Err(error) = env.objects.put(&key, record::to_json(&record).into()).await {
        warn!(dataset = dataset.name, key = %key, error = error.report(), "failed export not recorded");
    }
}

/// Records the failure of a queue message that won't be retried. The failure names the dataset, unless the message
/// or `datasets.toml` can't be read.
pub(super) async fn write_for_message(env: &Environment, failure: &Error) {
    let Some(name) = failure.dataset() else { return };
    let Ok(config) = env.config().await else { return };
    if let Ok(dataset) = config.dataset(name) {
        write(env, dataset, failure).await;
    }
}

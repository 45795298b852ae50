//! Whether the source of a dataset has objects that the dataset wasn't built from.

use serde_json::json;
use turntable_core::{config::Dataset, error::Result, record::ExportFailure};

use crate::{environment::Environment, inputs};

/// Returns the queue message that requests an export of a dataset if its source has objects that it wasn't built from.
pub(crate) fn message(dataset: &str) -> String {
    json!({ "dataset": dataset, "put": true }).to_string()
}

/// Returns whether the source has objects that the newest generation wasn't built from. `is_told` says whether an event
/// has reported a put. If not, objects that an export has failed on for good don't count.
pub(super) async fn is_unread(env: &Environment, dataset: &Dataset, is_told: bool) -> Result<bool> {
    let Some(files) = dataset.files_on_put() else { return Ok(false) };
    let listed = turntable_sources::files::entries(files, &*env.objects).await?;
    let newest = inputs::newest(env, dataset).await?;
    let lacks = match newest.as_ref().map(|manifest| manifest.read.as_ref()) {
        Some(Some(read)) => read.lacks(&listed),
        Some(None) | None => !listed.is_empty(),
    };
    if is_told || !lacks {
        return Ok(lacks);
    }
    let failure: Option<ExportFailure> = env.record(&dataset.paths.export_failure()).await?;
    let latest = listed.iter().map(|entry| entry.modified).max();
    Ok(!failure.is_some_and(|failure| failure.retry_at.is_none() && latest.is_none_or(|latest| latest < failure.at)))
}

//! Checks the buckets' settings once per sweep of all datasets, and reports the faults.

use tracing::warn;
use turntable_core::config::Config;

use crate::{
    buckets,
    environment::Environment,
    metric::{Metric, emit},
};

/// Checks the settings and, unless this is a dry run, records the faults for `status`. Returns a message for each
/// fault. A failure also becomes a message, because no other part of the sweep depends on the check.
pub(super) async fn look(env: &Environment, config: &Config, dry_run: bool) -> Vec<String> {
    let before = match buckets::read(env).await {
        Ok(before) => before,
        Err(error) => {
            warn!(error = error.report(), "the last sweep's findings about the buckets are unreadable");
            None
        }
    };
    let found = buckets::look(env, config, before.as_ref()).await;
    let mut notes: Vec<String> = Vec::new();
    for fault in &found.faults {
        warn!(bucket = fault.bucket, fault = fault.message, "bucket settings");
        if !dry_run {
            emit(found.at, &fault.bucket, &[(Metric::BucketSettings, 1.0)]);
        }
        notes.push(fault.message.clone());
    }
    if !dry_run && let Err(error) = buckets::write(env, &found).await {
        notes.push(format!("the findings about the buckets' settings could not be stored: {}", error.report()));
    }
    notes
}

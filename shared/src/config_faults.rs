//! Reports the entries in `datasets.toml` that have errors. The other datasets aren't affected.

use tracing::error;
use turntable_core::config::Config;

use crate::{
    environment::Environment,
    metric::{Metric, emit},
};

/// Logs each entry that has errors, and counts the errors in a metric.
pub fn report(env: &Environment, config: &Config) {
    for entry in config.broken() {
        error!(dataset = entry.name, faults = ?entry.faults, "skipped, because its entry in datasets.toml has errors");
        emit(env.clock.now(), &entry.name, &[(Metric::ConfigFaults, entry.faults.len() as f64)]);
    }
}

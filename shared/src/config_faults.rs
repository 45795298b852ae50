//! Reports the entries in `datasets.toml` that have faults. The other datasets aren't affected.

use tracing::error;
use turntable_core::config::Config;

use crate::{
    environment::Environment,
    metric::{Metric, emit},
};

/// Logs each entry with faults, and counts the faults in a metric.
pub fn report(env: &Environment, config: &Config) {
    for entry in config.broken() {
        error!(dataset = entry.name, faults = ?entry.faults, "not used, because its entry in datasets.toml has faults");
        emit(env.clock.now(), &entry.name, &[(Metric::ConfigFaults, entry.faults.len() as f64)]);
    }
}

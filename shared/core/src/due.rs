//! What has become due since each dataset's last due time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The last due time of each dataset that has been queued, `_stacks/STACK/refresh.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDue {
    /// By dataset, or by a group's first member. A dataset that is new starts with the time at which it was first seen.
    pub datasets: BTreeMap<String, Timestamp>,
}

/// A dataset, or the first member of a group, and the time at which it was due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub dataset: String,
    pub at: Timestamp,
}

/// Returns whether any dataset has a schedule of its own.
pub fn has_schedules(config: &Config) -> bool {
    config.datasets().any(|dataset| dataset.refresh.as_ref().is_some_and(|refresh| !refresh.schedules.is_empty()))
}

/// Returns what has become due by `now`, and the last due times to store once it is queued. However many due times a
/// dataset has missed, it is due once: at the latest.
pub fn due(config: &Config, last: &LastDue, now: Timestamp) -> (Vec<Due>, LastDue) {
    let (mut found, mut next) = (Vec::new(), LastDue::default());
    for dataset in config.leads() {
        let Some(refresh) = dataset.refresh.as_ref().filter(|refresh| !refresh.schedules.is_empty()) else { continue };
        let since = last.datasets.get(&dataset.name).copied();
        let due = since.and_then(|since| refresh.latest(since, now));
        found.extend(due.map(|at| Due { dataset: dataset.name.clone(), at }));
        next.datasets.insert(dataset.name.clone(), due.or(since).unwrap_or(now));
    }
    (found, next)
}

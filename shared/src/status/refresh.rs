//! When a dataset was last refreshed, when it will be, and what it waits for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use turntable_core::{
    config::{Dataset, Refresh},
    error::Result,
    refresh::Record,
};

use crate::environment::Environment;

/// The refreshes of a dataset that has a `refresh` of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshStatus {
    /// The schedules, as datasets.toml has them. None if the dataset is refreshed by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<String>,
    /// The last due time for which an export has ended well. `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// The next due time. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// When the export that is in progress began. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
    /// What the next export waits for. `None` if it only waits for its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// Loads the refreshes of a dataset. Returns `None` if the stack's schedule refreshes it, or if it is an inbox. Takes
/// one request.
pub async fn load(env: &Environment, dataset: &Dataset, now: Timestamp) -> Result<Option<RefreshStatus>> {
    let Some(refresh) = &dataset.refresh else { return Ok(None) };
    let record: Record = match refresh.schedules.is_empty() {
        true => Record::default(),
        false => env.record(&refresh.record).await?.unwrap_or_default(),
    };
    Ok(Some(of(refresh, &record, now)))
}

fn of(refresh: &Refresh, record: &Record, now: Timestamp) -> RefreshStatus {
    let running = record.running.as_ref().filter(|running| running.until > now);
    let waits = match (running, record.waiting) {
        (Some(running), Some(due)) => {
            Some(format!("the export for {due} starts when the one that began at {} has ended", seconds(running.since)))
        }
        (None, Some(due)) if record.follows().is_some() => {
            Some(format!("the export for {due} starts when the engine's run has ended, or at the next due time"))
        }
        _ => None,
    };
    RefreshStatus {
        schedules: refresh.schedules.iter().map(|schedule| schedule.text().to_owned()).collect(),
        last: record.done,
        next: refresh.next(now),
        running_since: running.map(|running| running.since),
        waits,
    }
}

/// Returns a time without fractions of a second, for a message.
fn seconds(at: Timestamp) -> Timestamp {
    at.round(jiff::Unit::Second).unwrap_or(at)
}

//! Loads when a dataset was last refreshed, when it will be refreshed next, and what it waits for.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use turntable_core::{
    config::{Dataset, Refresh},
    due::{Inputs, awaited, is_due_after, rolled_back},
    error::Result,
    layout::time_of,
    manifest::Manifest,
    refresh::{Next, Record},
};

use crate::{environment::Environment, inputs};

/// The refreshes of a dataset that has its own `refresh`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshStatus {
    /// The schedules, as in datasets.toml. Empty if the dataset is not refreshed by a schedule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<String>,
    /// The datasets whose flips lead to its refresh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Whether a put into its source refreshes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_put: bool,
    /// The last due time for which an export has succeeded. `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// The next due time. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// When the export in progress started. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
    /// The due time that came during the export in progress. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlaps: Option<Timestamp>,
    /// What the next export waits for. `None` if it waits only for its due time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// Loads the refreshes of a dataset, and a message about inputs that have been rolled back since its live generation,
/// which has this manifest, was built from them. Returns `None` for the first if the stack's schedule refreshes the
/// dataset, or if it is an inbox, and for the second if there are no such inputs. Makes one request. For a dataset with
/// inputs, makes two more requests, and one for each input.
pub async fn load(
    env: &Environment,
    dataset: &Dataset,
    manifest: Option<&Manifest>,
    now: Timestamp,
) -> Result<(Option<RefreshStatus>, Option<String>)> {
    let Some(refresh) = &dataset.refresh else { return Ok((None, None)) };
    if refresh.is_manual() {
        return Ok((Some(RefreshStatus::default()), None));
    }
    let record: Record = env.record(&refresh.record).await?.unwrap_or_default();
    let (built, live) = match refresh.after.is_empty() {
        true => Default::default(),
        false => futures::try_join!(inputs::built(env, dataset), inputs::live(env, dataset))?,
    };
    let running = record.in_progress(now);
    let inputs = manifest.map(|manifest| &manifest.inputs).filter(|inputs| !inputs.is_empty());
    let outdated = inputs.and_then(|inputs| outdated(dataset, inputs, &live, now));
    let status = RefreshStatus {
        schedules: refresh.schedules.iter().map(|schedule| schedule.text().to_owned()).collect(),
        after: refresh.inputs().into_iter().map(|input| input.dataset.clone()).collect(),
        on_put: refresh.on_put.is_some(),
        last: record.done,
        next: refresh.next(now),
        running_since: running.map(|running| running.since),
        overlaps: record.waiting.filter(|_| running.is_some()),
        waits: waits(refresh, &record, (&built, &live), now),
    };
    Ok((Some(status), outdated))
}

/// Returns what the next export waits for, apart from its due time.
fn waits(refresh: &Refresh, record: &Record, (built, live): (&Inputs, &Inputs), now: Timestamp) -> Option<String> {
    if let Some(running) = record.in_progress(now) {
        let next = match (record.waiting, record.waiting_for_inputs, record.put) {
            (Some(due), _, _) => format!("the export for {due}"),
            (None, true, _) => "the export for the inputs that have flipped".into(),
            (None, false, Some(put)) => format!("the export for the put at {}", seconds(put)),
            (None, false, None) => return None,
        };
        return Some(format!("{next} starts when the one that started at {} has ended", seconds(running.since)));
    }
    if let Some(waits) = waits_after_puts(refresh, record, now) {
        return Some(waits);
    }
    if let Some(Next::Due(due)) = record.follows(refresh.settle(), now) {
        return Some(format!("the export for {due} starts when the engine's run has ended, or at the next due time"));
    }
    let awaited = awaited(refresh, built, live).filter(|awaited| !awaited.is_empty())?;
    Some(format!("flips of {}", awaited.join(", ")))
}

/// Returns what the next export after puts waits for. `None` if no put has come since the last export.
fn waits_after_puts(refresh: &Refresh, record: &Record, now: Timestamp) -> Option<String> {
    if let Some(left) = record.unsettled(refresh.settle(), now) {
        let starts = now.checked_add(left).map_or(now, seconds);
        let put = seconds(record.put?);
        return Some(format!("the last put was at {put}, and the export starts at {starts} if no other follows"));
    }
    match (record.put, record.retried_put) {
        (Some(put), _) => Some(format!("the export for the put at {} is queued", seconds(put))),
        (None, Some(put)) => Some(format!("the export for the put at {} failed, and is tried again", seconds(put))),
        (None, None) => None,
    }
}

/// How long a filtered table may stay behind its inputs before it needs an operator. Athena ends a query after 30 minutes.
const MAX_FILTERED_DELAY: SignedDuration = SignedDuration::from_mins(30);

/// Returns a message about inputs that have been rolled back since the live generation was `built` from them, or about a
/// filtered table that hasn't followed its inputs. Returns `None` if there are none.
fn outdated(dataset: &Dataset, built: &Inputs, live: &Inputs, now: Timestamp) -> Option<String> {
    if let Some(behind) = behind(dataset, built, live, now) {
        return Some(behind);
    }
    let back: Vec<String> = rolled_back(built, live)
        .into_iter()
        .map(|(input, built, live)| format!("{input} {built}, which was rolled back to {live}"))
        .collect();
    let name = &dataset.name;
    (!back.is_empty()).then(|| {
        format!(
            "{name}: the live generation was built from {}. Invoke export with {{\"dataset\":{name:?}}} to build it \
             again, or roll it back too",
            back.join(" and ")
        )
    })
}

/// Returns a message about a filtered table whose inputs have flipped since it was built, if that was long ago.
fn behind(dataset: &Dataset, built: &Inputs, live: &Inputs, now: Timestamp) -> Option<String> {
    let (of, refresh) = (dataset.filters.as_ref()?, dataset.refresh.as_ref()?);
    if !is_due_after(refresh, built, live) {
        return None;
    }
    let newer = live.iter().filter(|(name, live)| built.get(*name).is_none_or(|built| live.ulid > built.ulid));
    let since = newer.map(|(_, live)| time_of(live.ulid)).min()?;
    (now.duration_since(since) > MAX_FILTERED_DELAY).then(|| {
        let name = &dataset.name;
        format!(
            "{name}: live doesn't follow the opt-outs or {} since {}, so people who opted out are still in it: remove the \
             cause of the failed exports, then invoke export with {{\"dataset\":{name:?}}}",
            of.dataset,
            seconds(since)
        )
    })
}

/// Returns a time without fractions of a second, for a message.
fn seconds(at: Timestamp) -> Timestamp {
    at.round(jiff::Unit::Second).unwrap_or(at)
}

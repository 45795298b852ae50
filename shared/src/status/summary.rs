//! The status of one dataset in the list of all datasets, and its conditions that need an operator.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    condition::{Condition, Topic},
    refresh::RefreshStatus,
};
use turntable_core::{
    config::{Dataset, Inbox},
    layout::{Generation, time_of},
    record::{ExportFailure, FlipOrigin, Verdict},
};

/// The age from which a candidate without a verdict needs attention. A flip takes seconds, but its event may be retried
/// for some minutes. The age is counted from the time in the generation's name, which an export may choose this long
/// before it completes the generation.
const MAX_FLIP_DELAY: SignedDuration = SignedDuration::from_mins(30);

/// How long a drop may stay unread, in addition to the inbox's `min_interval`, before it needs attention. The schedule
/// reads each inbox within a minute, and the alarm `OptoutLag` goes off after 5 minutes.
const MAX_DROP_DELAY: SignedDuration = SignedDuration::from_mins(5);

/// The status of one dataset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatasetSummary {
    pub dataset: String,
    /// Whether the dataset is merged from an inbox. Its candidates need no operator: the next refresh replaces them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_inbox: bool,
    /// The live generation, or the live location if it is unmanaged. `None` if there is no table.
    pub live: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Seconds since `as_of`. `None` if `as_of` is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
    /// When the last flip was made. `None` if none is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipped_at: Option<Timestamp>,
    /// Who or what made the last flip. `None` if none is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<FlipOrigin>,
    /// The newest complete generation that is newer than live and has never been live: it was rejected (see
    /// `rejected`), it is held, or its flip hasn't happened yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Generation>,
    /// Whether no event can make `waits` live, for example because it is older than a rollback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Why `waits` was rejected, and when. `None` if it wasn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Verdict>,
    /// The last failed export, if no generation has been exported since. If it has `retry_at`, it is retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_export: Option<ExportFailure>,
    /// The Glue crawler that updates the table and would overwrite what Turntable publishes. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crawler: Option<String>,
    /// A message about another stack that also publishes the table. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_stack: Option<String>,
    /// A message about each rename that has created the new table but has not dropped the old one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renaming: Vec<String>,
    /// A message about each folder where the table was published before the dataset's location changed, if nobody has
    /// decided what to do with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// The reason for the dataset's hold, or for its group's hold. `None` if there is no hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_at: Option<Timestamp>,
    /// A message about a flip of the dataset's group that is in flight or was left unfinished. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished_since: Option<Timestamp>,
    /// The dataset's own refreshes. `None` if the stack's schedule refreshes it, or if it is an inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshStatus>,
    /// The inputs' generations from which the live generation was built, by dataset.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub built_from: BTreeMap<String, Generation>,
    /// A message about inputs that have been rolled back since. `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// The drops in the inbox. `None` if the dataset's source is not an inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox: Option<InboxSummary>,
    /// A message about the table's drift. `None` if the table hasn't drifted.
    #[serde(rename = "unflip", default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// A message about the differences between the table and its live generation, apart from its location. `None` if
    /// there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<String>,
    /// A message about files in the live generation that were lost, changed or added. `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// Why the status could not be loaded. `None` if it was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Returns whether the export will be retried, or a retry is in progress. A retry takes at most 15 minutes, Lambda's
/// limit.
fn is_retried(failure: &ExportFailure, now: Timestamp) -> bool {
    failure.retry_at.is_some_and(|at| now.duration_since(at) < SignedDuration::from_mins(16))
}

/// The drops in an inbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InboxSummary {
    /// The number of drops that the live table doesn't contain yet.
    pub unread: u64,
    /// When the oldest unread drop was uploaded. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_unread: Option<Timestamp>,
    /// When the newest drop in the inbox was uploaded. Archived drops don't count. `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drop: Option<Timestamp>,
    /// Whether the oldest unread drop has waited for more than `min_interval` plus five minutes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// The number of people whom the drops that `max_returning` holds back would opt back in. `None` if no drops are
    /// held back. These drops aren't counted as unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back_at: Option<Timestamp>,
    /// A message about the drops that are held back, with the request that lets them pass. `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back_message: Option<String>,
}

impl DatasetSummary {
    pub(super) fn of(dataset: &Dataset) -> DatasetSummary {
        DatasetSummary {
            dataset: dataset.name.clone(),
            is_inbox: dataset.is_inbox(),
            live: None,
            rows: None,
            bytes: None,
            as_of: None,
            age_seconds: None,
            flipped_at: None,
            by: None,
            waits: None,
            stale: false,
            rejected: None,
            failed_export: None,
            crawler: None,
            other_stack: None,
            renaming: Vec::new(),
            left: Vec::new(),
            hold: None,
            held_at: None,
            unfinished: None,
            unfinished_since: None,
            refresh: None,
            built_from: BTreeMap::new(),
            outdated: None,
            inbox: None,
            drift: None,
            edited: None,
            damaged: None,
            error: None,
        }
    }

    /// Returns the dataset's conditions that need an operator.
    pub(super) fn conditions(&self, now: Timestamp) -> Vec<Condition> {
        let DatasetSummary { dataset, .. } = self;
        let about = |topic: Topic, message: String| Condition::new(topic, dataset, message);
        let named = |text: &String| format!("{dataset}: {text}");
        let damaged = if self.is_inbox { Topic::DamagedOptouts } else { Topic::Damaged };
        let mut found: Vec<Condition> = Vec::new();
        found.extend(self.error.iter().map(|text| about(Topic::Unreadable, named(text))));
        // These messages already start with the table's name.
        for (topic, message) in [
            (Topic::Drift, &self.drift),
            (Topic::Edited, &self.edited),
            (damaged, &self.damaged),
            (Topic::OtherStack, &self.other_stack),
            (Topic::Outdated, &self.outdated),
        ] {
            found.extend(message.iter().map(|text| about(topic, text.clone())));
        }
        found.extend(self.renaming.iter().map(|text| about(Topic::UnfinishedRename, text.clone())));
        found.extend(self.left.iter().map(|text| about(Topic::Moved, text.clone())));
        let unfinished = self.unfinished.iter();
        found.extend(unfinished.map(|text| about(Topic::UnfinishedGroup, named(text)).since(self.unfinished_since)));
        found.extend(
            self.hold.iter().map(|reason| about(Topic::Held, format!("{dataset}: held: {reason}")).since(self.held_at)),
        );
        found.extend(self.waiting(now));
        found.extend(self.slow());
        found.extend(self.unread());
        if let Some(inbox) = &self.inbox {
            let held = inbox.held_back_message.iter();
            found.extend(held.map(|text| about(Topic::Returning, named(text)).since(inbox.held_back_at)));
        }
        found.extend(self.failed_export.as_ref().filter(|failure| !is_retried(failure, now)).map(|failure| {
            let message = format!(
                "{dataset}: the export failed at {}, and the live table stays as it is: {}: {}. Remove the cause, then \
                 invoke export with {{\"dataset\":{dataset:?}}}",
                failure.at, failure.error, failure.reason
            );
            about(Topic::ExportFailed, message).since(failure.since.or(Some(failure.at)))
        }));
        found.extend(self.crawler.as_ref().map(|crawler| {
            let message = format!(
                "{dataset}: the table's parameter UPDATED_BY_CRAWLER names the Glue crawler {crawler:?}, which would overwrite \
                 the columns and the location that Turntable publishes: exclude the table from the crawler, then remove the \
                 parameter"
            );
            about(Topic::Crawler, message)
        }));
        if found.is_empty() && self.live.is_none() && self.waits.is_none() {
            found.push(about(Topic::NoTable, format!("{dataset}: no table, and nothing has been exported yet")));
        }
        found
    }

    /// Returns the condition for a complete candidate that is not live, unless a hold explains it or its flip may still
    /// be in progress.
    fn waiting(&self, now: Timestamp) -> Option<Condition> {
        let (DatasetSummary { dataset, .. }, waits) = (self, self.waits?);
        if let Some(Verdict { at, reasons }) = &self.rejected {
            let message = format!(
                "{dataset}: {waits} was rejected, and the live table stays as it is: {}. Correct the source and \
                 export again, or change the check and invoke flip with {{\"dataset\":{dataset:?},\"generation\":\"{waits}\"}}",
                reasons.join("; ")
            );
            return Some(Condition::new(Topic::Rejected, dataset, message).since(Some(*at)));
        }
        let exported = time_of(waits.ulid);
        if self.hold.is_some() || self.is_inbox || self.stale || now.duration_since(exported) < MAX_FLIP_DELAY {
            return None;
        }
        let message = format!(
            "{dataset}: {waits} is complete, but no flip has tried to make it live, so its event may be lost: invoke flip \
             with {{\"dataset\":{dataset:?},\"generation\":\"{waits}\"}}"
        );
        Some(Condition::new(Topic::NotFlipped, dataset, message).since(Some(exported)))
    }

    /// Returns the condition for an export that takes longer than its interval.
    fn slow(&self) -> Option<Condition> {
        let (DatasetSummary { dataset, .. }, refresh) = (self, self.refresh.as_ref()?);
        let RefreshStatus { running_since: Some(since), overlaps: Some(due), .. } = refresh else { return None };
        let message = format!(
            "{dataset}: the export that started at {since} was still in progress when the next one was due, at {due}: \
             make it faster, or lengthen the interval in refresh"
        );
        Some(Condition::new(Topic::SlowExport, dataset, message).since(Some(*since)))
    }

    /// Returns the condition for drops that should have been read by now.
    fn unread(&self) -> Option<Condition> {
        let (DatasetSummary { dataset, .. }, inbox) = (self, self.inbox.as_ref()?);
        let InboxSummary { unread, oldest_unread: Some(oldest), overdue: true, .. } = inbox else { return None };
        let drops = if *unread == 1 { "1 drop is" } else { &format!("{unread} drops are") };
        let message = format!(
            "{dataset}: {drops} unread, the oldest since {oldest}, so these opt-outs have no effect yet: invoke \
             optout with {{\"dataset\":{dataset:?}}}, and remove the cause if that fails"
        );
        Some(Condition::new(Topic::UnreadDrops, dataset, message).since(Some(*oldest)))
    }
}

impl InboxSummary {
    /// Returns whether a drop that was uploaded at `put` should have been read by `now`.
    pub(super) fn is_overdue(inbox: &Inbox, put: Timestamp, now: Timestamp) -> bool {
        now.duration_since(put) > inbox.min_interval + MAX_DROP_DELAY
    }
}

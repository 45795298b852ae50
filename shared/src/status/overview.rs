//! Loads a summary of all datasets, with a few requests per dataset.

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::inboxes;
use crate::{
    catalog,
    environment::Environment,
    publish::{self, Outcome, TableHead, detect_drift, drift_suspected, group},
};
use turntable_core::{
    config::{Config, Dataset},
    decision::{self, Decision, FlipState, Live, Trigger},
    error::Result,
    group::Record,
    layout::{Generation, TablePaths, time_of},
    record::{ExportFailure, FlipOrigin, Verdict},
};

/// The largest number of datasets that are loaded concurrently.
///
/// Loading one takes about ten requests: for the table, its view, the live generation's manifest, the hold, the list of
/// flip records since the live generation, the last flip record, the lists of manifests and of the live files, the
/// table's record, and the last failed export. A group's member takes two more, for the group's record.
const MAX_CONCURRENT_DATASETS: usize = 16;

/// The age at which a candidate without a verdict starts to need attention. A flip takes seconds, but its event may be
/// retried for some minutes. The age counts from the generation's name, which an export may choose this long before it
/// completes the generation.
const MAX_FLIP_DELAY: SignedDuration = SignedDuration::from_mins(30);

/// The status of all datasets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overview {
    /// Always `status`.
    pub outcome: Outcome,
    /// When the status was loaded.
    pub at: Timestamp,
    /// One message for each reason why a dataset, an inbox or a retired table needs an operator's attention.
    pub attention: Vec<String>,
    /// All datasets, ordered by name.
    pub datasets: Vec<DatasetSummary>,
}

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
    /// Seconds since `as_of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
    /// When the last flip was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipped_at: Option<Timestamp>,
    /// Who or what made the last flip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<FlipOrigin>,
    /// The newest complete generation that is newer than live and has never been live. It was rejected (see `rejected`)
    /// or held, or its flip is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Generation>,
    /// Whether no event makes `waits` live, for example because it is older than a rollback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Why `waits` was rejected, and when. `None` if it wasn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Verdict>,
    /// The last export that failed for good, if no generation has been exported since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_export: Option<ExportFailure>,
    /// The Glue crawler that updates the table, and would overwrite what Turntable publishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crawler: Option<String>,
    /// A message about another stack that publishes the table too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_stack: Option<String>,
    /// The reason for the dataset's hold, or for its group's hold. `None` if there is no hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// A message about a flip of the dataset's group that is in flight or was left unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    /// A message about the table's drift. `None` if the table hasn't drifted.
    #[serde(rename = "unflip", default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// A message about the differences between the table and its live generation, apart from its location. `None` if
    /// there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<String>,
    /// A message about files of the live generation that were lost, changed or added. `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// Why the status could not be loaded. `None` if it was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Returns the status of all datasets. If a dataset can't be loaded, its summary has the error, and the other datasets
/// are unaffected.
pub async fn overview(env: &Environment, config: &Config) -> Overview {
    let now = env.clock.now();
    let standings = config.datasets().map(|dataset| async move {
        standing(env, dataset, now).await.unwrap_or_else(|error| DatasetSummary {
            error: Some(format!("{}: {}", error.kind().as_str(), error.report())),
            ..DatasetSummary::of(dataset)
        })
    });
    let datasets: Vec<DatasetSummary> = stream::iter(standings).buffered(MAX_CONCURRENT_DATASETS).collect().await;
    let mut attention: Vec<String> = datasets.iter().flat_map(|one| one.attention(now)).collect();
    match inboxes::attention(env, config).await {
        Ok(found) => attention.extend(found),
        Err(error) => attention.push(format!("the inboxes can't be listed: {}", error.report())),
    }
    let tables = catalog::tables(env, config).await;
    let unlisted = tables.failed.iter();
    attention.extend(
        unlisted.map(|(database, error)| format!("{database}: its tables can't be listed: {}", error.report())),
    );
    attention.extend(catalog::over_folders(config, &tables.listed));
    match catalog::retired(env, config, &tables.listed).await {
        Ok(found) => attention.extend(found),
        Err(error) => attention.push(format!("tables that no dataset publishes can't be told: {}", error.report())),
    }
    Overview { outcome: Outcome::Status, at: now, attention, datasets }
}

async fn standing(env: &Environment, dataset: &Dataset, now: Timestamp) -> Result<DatasetSummary> {
    let head = TableHead::now(env, dataset).await?;
    let listed = dataset.paths.manifests();
    let (hold, manifests, record) =
        futures::try_join!(head.hold(env, dataset), env.objects.list(&listed, None), group::record(env, dataset),)?;
    let hold = record.as_ref().and_then(Record::held).cloned().or(hold);
    let loaded = head.finish(env, dataset, hold).await?;
    let live = &loaded.state.live;
    let drift = match drift_suspected(dataset, live, &loaded.recorded()) {
        true => detect_drift(env, dataset).await?.map(|drift| drift.told(dataset)),
        false => None,
    };
    let complete: Vec<Generation> =
        manifests.iter().filter_map(|entry| TablePaths::parse_manifest(&entry.key)).map(|(_, found)| found).collect();
    let younger = complete.iter().filter(|found| live.generation().is_none_or(|live| found.ulid > live.ulid));
    let waits = younger.filter(|found| !loaded.state.was_live(found)).max_by_key(|found| found.ulid).copied();
    let newest = complete.iter().map(|found| time_of(found.ulid)).max();
    let (table, manifest) = (loaded.table.as_ref(), loaded.live_manifest.as_ref());
    let (stale, rejected, failed_export, other_stack, differences) = futures::try_join!(
        is_stale(env, dataset, &loaded.state, waits),
        verdict(env, dataset, waits),
        failed_export(env, dataset, newest),
        publish::identity::other_stack(env, &dataset.paths),
        publish::verify::verify(env, dataset, table, manifest),
    )?;
    let last = loaded.state.flips.last();
    Ok(DatasetSummary {
        live: match live {
            Live::NoTable => None,
            Live::Unmanaged(location) => Some(location.to_string()),
            Live::Managed(generation) => Some(generation.to_string()),
        },
        rows: manifest.map(|manifest| manifest.rows),
        bytes: manifest.map(|manifest| manifest.bytes),
        as_of: manifest.map(|manifest| manifest.as_of),
        age_seconds: manifest.map(|manifest| now.duration_since(manifest.snapshot_at()).as_secs()),
        flipped_at: last.map(|flip| flip.at),
        by: last.map(|flip| flip.by),
        waits,
        stale,
        rejected,
        failed_export,
        crawler: table.filter(|_| !matches!(live, Live::NoTable)).and_then(|table| table.crawler.clone()),
        other_stack: other_stack.map(|other| publish::identity::other_stack_message(dataset, &other)),
        hold: loaded.state.hold.as_ref().map(|hold| hold.reason.clone()),
        unfinished: record.and_then(|record| record.unfinished()),
        drift,
        edited: differences.edited,
        damaged: differences.damaged,
        ..DatasetSummary::of(dataset)
    })
}

/// Returns whether an event would not make the candidate live. The members of a group are judged together, and not here.
async fn is_stale(env: &Environment, dataset: &Dataset, state: &FlipState, waits: Option<Generation>) -> Result<bool> {
    let Some(waits) = waits else { return Ok(false) };
    if dataset.group.is_some() {
        return Ok(true);
    }
    let Some(candidate) = publish::manifest(env, dataset, &waits).await? else { return Ok(true) };
    let decision = decision::flip(&dataset.paths, &candidate, state, Trigger::Event);
    Ok(!matches!(decision, Ok(Decision::Flip | Decision::Held(_))))
}

async fn verdict(env: &Environment, dataset: &Dataset, of: Option<Generation>) -> Result<Option<Verdict>> {
    match of {
        Some(generation) => publish::verdict::read(env, dataset, &generation).await,
        None => Ok(None),
    }
}

/// Reads the last failed export. `None` if there is none, or if a generation that was started after it is complete.
async fn failed_export(
    env: &Environment,
    dataset: &Dataset,
    newest: Option<Timestamp>,
) -> Result<Option<ExportFailure>> {
    let found: Option<ExportFailure> = env.record(&dataset.paths.export_failure()).await?;
    Ok(found.filter(|failure| newest.is_none_or(|newest| newest < failure.at)))
}

impl DatasetSummary {
    fn of(dataset: &Dataset) -> DatasetSummary {
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
            hold: None,
            unfinished: None,
            drift: None,
            edited: None,
            damaged: None,
            error: None,
        }
    }

    /// Returns each reason why the dataset needs an operator's attention.
    pub fn attention(&self, now: Timestamp) -> Vec<String> {
        let DatasetSummary { dataset, .. } = self;
        let named = |text: &String| format!("{dataset}: {text}");
        // The messages about drift, edits, damage and other stacks already begin with the table's name.
        let mut found: Vec<String> = self.error.iter().map(named).collect();
        found.extend([&self.drift, &self.edited, &self.damaged, &self.other_stack].into_iter().flatten().cloned());
        found.extend(self.unfinished.iter().map(named));
        found.extend(self.hold.iter().map(|reason| format!("{dataset}: held: {reason}")));
        found.extend(self.waiting(now));
        found.extend(self.failed_export.as_ref().map(|failure| {
            format!(
                "{dataset}: the export failed at {}, and live stays as it is: {}: {}. Remove the cause, then invoke export \
                 with {{\"dataset\":{dataset:?}}}",
                failure.at, failure.error, failure.reason
            )
        }));
        found.extend(self.crawler.as_ref().map(|crawler| {
            format!(
                "{dataset}: the Glue crawler {crawler:?} updates the table, and would overwrite the columns and the location \
                 that Turntable publishes: exclude the table from the crawler, then remove the table's parameter \
                 UPDATED_BY_CRAWLER"
            )
        }));
        if found.is_empty() && self.live.is_none() && self.waits.is_none() {
            found.push(format!("{dataset}: no table, and nothing has been exported yet"));
        }
        found
    }

    /// Returns the message about a complete candidate that is not live, unless a hold explains it, or its flip may
    /// still be under way.
    fn waiting(&self, now: Timestamp) -> Option<String> {
        let (DatasetSummary { dataset, .. }, waits) = (self, self.waits?);
        if let Some(Verdict { at, reasons }) = &self.rejected {
            return Some(format!(
                "{dataset}: {waits} was rejected at {at}, and live stays as it is: {}. Correct the source and export again, \
                 or change the check and invoke flip with {{\"dataset\":{dataset:?},\"generation\":\"{waits}\"}}",
                reasons.join("; ")
            ));
        }
        if self.hold.is_some()
            || self.is_inbox
            || self.stale
            || now.duration_since(time_of(waits.ulid)) < MAX_FLIP_DELAY
        {
            return None;
        }
        Some(format!(
            "{dataset}: {waits} is complete, but no flip has tried to make it live, so its event may be lost: invoke flip \
             with {{\"dataset\":{dataset:?},\"generation\":\"{waits}\"}}"
        ))
    }
}

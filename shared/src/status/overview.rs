//! Loads a summary of all datasets, with a few requests per dataset.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::inboxes;
use crate::environment::Environment;
use crate::publish::{Outcome, TableHead, detect_drift, drift_suspected, group};
use turntable_core::{
    config::{Config, Dataset},
    decision::Live,
    error::Result,
    group::Record,
    layout::{Generation, TablePaths},
    record::FlipOrigin,
};

/// The largest number of datasets that are loaded concurrently.
///
/// Loading one takes about seven requests: for the table, its view, the live generation's manifest, the hold, the list
/// of flip records since the live generation, the last flip record, and the list of manifests. A member of a group takes
/// two more, for the group's record.
const MAX_CONCURRENT_DATASETS: usize = 16;

/// The status of all datasets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overview {
    /// Always `status`.
    pub outcome: Outcome,
    /// When the status was loaded.
    pub at: Timestamp,
    /// One message per dataset that needs an operator's attention, and one per problem with the inboxes.
    pub attention: Vec<String>,
    /// All datasets, ordered by name.
    pub datasets: Vec<DatasetSummary>,
}

/// The status of one dataset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatasetSummary {
    pub dataset: String,
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
    /// The newest complete generation that is newer than live and has never been live. It was rejected or held, or its
    /// flip is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Generation>,
    /// The reason for the dataset's hold, or for its group's hold. `None` if there is no hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// A message about a flip of the dataset's group that is in flight or was left unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    /// A message about the table's drift. `None` if the table hasn't drifted.
    #[serde(rename = "unflip", default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
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
    let mut attention: Vec<String> = datasets.iter().filter_map(DatasetSummary::attention).collect();
    match inboxes::attention(env, config).await {
        Ok(found) => attention.extend(found),
        Err(error) => attention.push(format!("the inboxes can't be listed: {}", error.report())),
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
    let complete =
        manifests.iter().filter_map(|entry| TablePaths::parse_manifest(&entry.key)).map(|(_, generation)| generation);
    let younger = complete.filter(|found| live.generation().is_none_or(|live| found.ulid > live.ulid));
    let waits = younger.filter(|found| !loaded.state.was_live(found)).max_by_key(|found| found.ulid);
    let last = loaded.state.flips.last();
    let manifest = loaded.live_manifest.as_ref();
    Ok(DatasetSummary {
        live: match live {
            Live::NoTable => None,
            Live::Unmanaged(location) => Some(location.to_string()),
            Live::Managed(generation) => Some(generation.to_string()),
        },
        rows: manifest.map(|manifest| manifest.rows),
        bytes: manifest.map(|manifest| manifest.bytes),
        as_of: manifest.map(|manifest| manifest.as_of),
        age_seconds: manifest.map(|manifest| now.duration_since(manifest.as_of).as_secs()),
        flipped_at: last.map(|flip| flip.at),
        by: last.map(|flip| flip.by),
        waits,
        hold: loaded.state.hold.as_ref().map(|hold| hold.reason.clone()),
        unfinished: record.and_then(|record| record.unfinished()),
        drift,
        ..DatasetSummary::of(dataset)
    })
}

impl DatasetSummary {
    fn of(dataset: &Dataset) -> DatasetSummary {
        DatasetSummary {
            dataset: dataset.name.clone(),
            live: None,
            rows: None,
            bytes: None,
            as_of: None,
            age_seconds: None,
            flipped_at: None,
            by: None,
            waits: None,
            hold: None,
            unfinished: None,
            drift: None,
            error: None,
        }
    }

    /// Returns why the dataset needs an operator's attention, if it does.
    pub fn attention(&self) -> Option<String> {
        let DatasetSummary { dataset, .. } = self;
        match self {
            DatasetSummary { error: Some(error), .. } => Some(format!("{dataset}: {error}")),
            // The drift message already begins with the table's name.
            DatasetSummary { drift: Some(drift), .. } => Some(drift.clone()),
            DatasetSummary { unfinished: Some(unfinished), .. } => Some(format!("{dataset}: {unfinished}")),
            DatasetSummary { hold: Some(reason), .. } => Some(format!("{dataset}: held: {reason}")),
            DatasetSummary { live: None, waits: None, .. } => {
                Some(format!("{dataset}: no table, and nothing has been exported yet"))
            }
            DatasetSummary { waits: Some(waits), .. } => Some(format!(
                "{dataset}: {waits} is complete but not live: it was rejected, or its flip is still to come"
            )),
            _ => None,
        }
    }
}

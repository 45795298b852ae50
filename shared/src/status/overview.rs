//! The status of all datasets in one answer, for a few requests per dataset.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::environment::World;
use crate::publish::{Begun, Outcome, group, suspected, unflip};
use turntable_core::{
    config::{Config, Dataset},
    decision::Live,
    error::Result,
    group::Record,
    layout::{Generation, Home},
    record::By,
};

/// The largest number of datasets that are loaded concurrently.
///
/// Each takes about six requests: the table, the manifest of live, the hold, the list of the flips since live, the last
/// flip, and the list of manifests. A member of a group takes two more.
const MAX_CONCURRENT_DATASETS: usize = 16;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overview {
    /// Always `status`.
    pub outcome: Outcome,
    pub at: Timestamp,
    /// One message per dataset that needs an operator's attention.
    pub attention: Vec<String>,
    /// All datasets, ordered by name.
    pub datasets: Vec<Standing>,
}

/// The status of one dataset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Standing {
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// The newest complete generation that is newer than live and has never been live. It was rejected, it is held, or
    /// its flip is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Generation>,
    /// The reason of the dataset's hold, or of its group's hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// A message about a flip of the dataset's group that is in flight or was left unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    /// A message about the table's drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unflip: Option<String>,
    /// Why the status could not be loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Returns the status of all datasets. A dataset that can't be loaded has the error in its place; the others are
/// unaffected.
pub async fn overview(world: &World, config: &Config) -> Overview {
    let now = world.clock.now();
    let standings = config.datasets().map(|dataset| async move {
        standing(world, dataset, now).await.unwrap_or_else(|error| Standing {
            error: Some(format!("{}: {}", error.kind().as_str(), error.report())),
            ..Standing::of(dataset)
        })
    });
    let datasets: Vec<Standing> = stream::iter(standings).buffered(MAX_CONCURRENT_DATASETS).collect().await;
    let attention = datasets.iter().filter_map(Standing::attention).collect();
    Overview { outcome: Outcome::Status, at: now, attention, datasets }
}

async fn standing(world: &World, dataset: &Dataset, now: Timestamp) -> Result<Standing> {
    let begun = Begun::now(world, dataset).await?;
    let listed = dataset.home.manifests();
    let (hold, manifests, record) = futures::try_join!(
        begun.hold(world, dataset),
        world.objects.list(&listed, None),
        group::record(world, dataset),
    )?;
    let hold = record.as_ref().and_then(Record::held).cloned().or(hold);
    let look = begun.finish(world, dataset, hold).await?;
    let live = &look.state.live;
    let unflip = match suspected(dataset, live, &look.recorded()) {
        true => unflip(world, dataset).await?.map(|unflip| unflip.told(dataset)),
        false => None,
    };
    let complete =
        manifests.iter().filter_map(|entry| Home::parse_manifest(&entry.key)).map(|(_, generation)| generation);
    let younger = complete.filter(|found| live.generation().is_none_or(|live| found.ulid > live.ulid));
    let waits = younger.filter(|found| !look.state.was_live(found)).max_by_key(|found| found.ulid);
    let last = look.state.flips.last();
    let manifest = look.live_manifest.as_ref();
    Ok(Standing {
        live: match live {
            Live::NoTable => None,
            Live::Foreign(location) => Some(location.to_string()),
            Live::Ours(generation) => Some(generation.to_string()),
        },
        rows: manifest.map(|manifest| manifest.rows),
        bytes: manifest.map(|manifest| manifest.bytes),
        as_of: manifest.map(|manifest| manifest.as_of),
        age_seconds: manifest.map(|manifest| now.duration_since(manifest.as_of).as_secs()),
        flipped_at: last.map(|flip| flip.at),
        by: last.map(|flip| flip.by),
        waits,
        hold: look.state.hold.as_ref().map(|hold| hold.reason.clone()),
        unfinished: record.and_then(|record| record.unfinished()),
        unflip,
        ..Standing::of(dataset)
    })
}

impl Standing {
    fn of(dataset: &Dataset) -> Standing {
        Standing {
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
            unflip: None,
            error: None,
        }
    }

    /// Returns why the dataset needs an operator's attention, if it does.
    pub fn attention(&self) -> Option<String> {
        let Standing { dataset, .. } = self;
        match self {
            Standing { error: Some(error), .. } => Some(format!("{dataset}: {error}")),
            // The message begins with the table's name.
            Standing { unflip: Some(unflip), .. } => Some(unflip.clone()),
            Standing { unfinished: Some(unfinished), .. } => Some(format!("{dataset}: {unfinished}")),
            Standing { hold: Some(reason), .. } => Some(format!("{dataset}: held: {reason}")),
            Standing { live: None, waits: None, .. } => {
                Some(format!("{dataset}: no table, and nothing has been exported yet"))
            }
            Standing { waits: Some(waits), .. } => Some(format!(
                "{dataset}: {waits} is complete but not live: it was rejected, or its flip is still to come"
            )),
            _ => None,
        }
    }
}

//! How all datasets are, in one answer: what an operator wants to see first, for a few requests a dataset.

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

/// Datasets that are looked at at the same time. Each takes about six requests: its table, the manifest of live, the
/// hold, the list of its flips since live and the last of them, and the list of its manifests; of a group two more.
const AT_ONCE: usize = 16;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overview {
    /// `status`.
    pub outcome: Outcome,
    pub at: Timestamp,
    /// Those that want a person, and why.
    pub attention: Vec<String>,
    /// All of them, by name.
    pub datasets: Vec<Standing>,
}

/// How one dataset is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Standing {
    pub dataset: String,
    /// The generation that is live, or the location where it is none of ours; `None` where there is no table.
    pub live: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Since `as_of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
    /// The last flip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipped_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// The youngest complete generation that is younger than live and has never been live: held, rejected, or about to be
    /// asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Generation>,
    /// The reason of its hold, or of its group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// A flip of its group that is under way, or was left midway, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
    /// What somebody else has done to the table, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unflip: Option<String>,
    /// Why it could not be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What cannot be looked at is told in its place, and hides no other.
pub async fn overview(world: &World, config: &Config) -> Overview {
    let now = world.clock.now();
    let looks = config.datasets().map(|dataset| async move {
        standing(world, dataset, now).await.unwrap_or_else(|error| Standing {
            error: Some(format!("{}: {}", error.kind().as_str(), error.report())),
            ..Standing::of(dataset)
        })
    });
    let datasets: Vec<Standing> = stream::iter(looks).buffered(AT_ONCE).collect().await;
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

    /// Why it wants a person, if it does.
    pub fn attention(&self) -> Option<String> {
        let Standing { dataset, .. } = self;
        match self {
            Standing { error: Some(error), .. } => Some(format!("{dataset}: {error}")),
            // It begins with the table's name.
            Standing { unflip: Some(unflip), .. } => Some(unflip.clone()),
            Standing { unfinished: Some(unfinished), .. } => Some(format!("{dataset}: {unfinished}")),
            Standing { hold: Some(reason), .. } => Some(format!("{dataset}: held: {reason}")),
            Standing { live: None, waits: None, .. } => Some(format!("{dataset}: no table, nothing was exported yet")),
            Standing { waits: Some(waits), .. } => {
                Some(format!("{dataset}: {waits} is complete and not live: rejected, or its flip is still to come"))
            }
            _ => None,
        }
    }
}

//! One look at a table and at all that a decision about it needs.

use std::sync::Arc;

use aws_sdk_glue::types::Table;
use futures::{StreamExt, TryStreamExt, stream};
use ulid::Ulid;

use super::canary;
use crate::{
    aws::glue,
    config::Dataset,
    error::Result,
    manifest::Manifest,
    name::{Generation, Key},
    plan::{Live, State},
    port::Objects,
    record::{self, By, Flip, Hold},
    world::World,
};

pub struct Look {
    /// `None`: no such table. Its `VersionId` is of before everything else here was read.
    pub table: Option<Table>,
    pub state: State,
    /// `None` where live is not ours.
    pub live_manifest: Option<Manifest>,
    /// The ULIDs of `state.flips`.
    pub flips: Vec<Ulid>,
}

/// Small objects that are read at the same time.
const AT_ONCE: usize = 16;

impl Look {
    /// Reads the table first, then the rest: what changes in between costs the flip its `VersionId`.
    pub async fn at(world: &World, dataset: &Dataset, candidate: &Generation) -> Result<Look> {
        let table = world.catalog.table(&dataset.table).await?;
        let live = live_of(world, dataset, table.as_ref()).await?;
        let since = live.generation().map(|generation| generation.ulid.min(candidate.ulid));
        let (hold, flips, live_manifest) = futures::try_join!(
            hold(world, dataset),
            flips(world, dataset, since),
            live_manifest(world, dataset, &live),
        )?;
        let (flips, records) = flips.into_iter().unzip();
        let state = State {
            live_as_of: live_manifest.as_ref().map(|manifest| manifest.as_of),
            live,
            flips: records,
            hold,
            may_create: dataset.create,
        };
        Ok(Look { table, state, live_manifest, flips })
    }

    /// Makes sure that live has a flip record, if it is ours. Gives the record that it wrote.
    pub async fn recover(&self, world: &World, dataset: &Dataset) -> Result<Option<(Ulid, Flip)>> {
        let Some(live) = self.state.live.generation().filter(|live| !self.state.was_live(live)) else {
            return Ok(None);
        };
        let ulid = record::later(world.clock.ulid(), self.flips.iter().copied().chain([live.ulid]));
        // The last flip on record since live began is what live replaced; if there was none, that is live's base.
        let last = self.state.flips.last().map(|flip| dataset.home.generation(&flip.to));
        let flip = Flip {
            dataset: dataset.name.clone(),
            at: world.clock.now(),
            from: last.or_else(|| self.live_manifest.as_ref().and_then(|manifest| manifest.base.clone())),
            to: live,
            by: By::Recovered,
            why: None,
            canary: canary::pending(dataset),
        };
        world.objects.put_new(&dataset.home.flip(ulid), record::to_json(&flip).into()).await?;
        Ok(Some((ulid, flip)))
    }

    /// The last flip on record.
    pub fn last_flip(&self) -> Option<(Ulid, Flip)> {
        self.flips.last().copied().zip(self.state.flips.last().cloned())
    }
}

/// What Glue says is live.
pub async fn live(world: &World, dataset: &Dataset) -> Result<Live> {
    let table = world.catalog.table(&dataset.table).await?;
    live_of(world, dataset, table.as_ref()).await
}

async fn live_of(world: &World, dataset: &Dataset, table: Option<&Table>) -> Result<Live> {
    let location = match table {
        None => None,
        Some(table) => Some(glue::location(world.catalog.as_ref(), &dataset.table, table).await?),
    };
    Ok(Live::of(&dataset.home, location.as_ref()))
}

async fn live_manifest(world: &World, dataset: &Dataset, live: &Live) -> Result<Option<Manifest>> {
    match live.generation() {
        None => Ok(None),
        Some(generation) => super::manifest(world, dataset, &generation).await,
    }
}

pub async fn hold(world: &World, dataset: &Dataset) -> Result<Option<Hold>> {
    let key = dataset.home.hold();
    let found = world.objects.get(&key).await?;
    let hold: Option<Hold> = found.map(|json| record::from_json(&key, &json)).transpose()?;
    Ok(hold.filter(|hold| !hold.released))
}

/// The flips since a ULID's time, in order; where there is no bound, only the last of all there ever were.
pub async fn flips(world: &World, dataset: &Dataset, since: Option<Ulid>) -> Result<Vec<(Ulid, Flip)>> {
    // Every flip's ULID is later than its generation's, whatever the clocks say: see `record::later`.
    let after = since.map(|since| dataset.home.flip(Ulid::from_parts(since.timestamp_ms(), 0)));
    let listed = world.objects.list(&dataset.home.flips(), after.as_ref()).await?;
    let skip = if since.is_some() { 0 } else { listed.len().saturating_sub(1) };
    let keys = listed.into_iter().skip(skip).map(|entry| entry.key);
    let read: Vec<_> = keys.map(|key| flip(world.objects.clone(), dataset.home.parse_flip(&key), key)).collect();
    let read: Vec<Option<(Ulid, Flip)>> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// One record; `None` where the key is none of ours, or was swept meanwhile: then nobody needs it.
async fn flip(objects: Arc<dyn Objects>, ulid: Option<Ulid>, key: Key) -> Result<Option<(Ulid, Flip)>> {
    let Some(ulid) = ulid else { return Ok(None) };
    let json = objects.get(&key).await?;
    json.map(|json| Ok((ulid, record::from_json(&key, &json)?))).transpose()
}

//! Loads a table's state: the table itself, and everything that a decision about it needs.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use ulid::Ulid;

use super::canary;
use crate::environment::World;
use turntable_core::{
    config::Dataset,
    decision::{Live, State},
    error::{Error, Result},
    history,
    layout::{Generation, Key, Location},
    manifest::Manifest,
    port::Objects,
    record::{self, By, Flip, Hold, Return},
    schema::Column,
    table::TableVersion,
};

/// A table's state, as a decision needs it.
pub struct Look {
    /// The table, or `None` if it does not exist. It was read before everything else here, and so was its `VersionId`.
    pub table: Option<TableVersion>,
    pub state: State,
    /// `None` if live is unmanaged.
    pub live_manifest: Option<Manifest>,
    /// The ULIDs of `state.flips`, in the same order.
    pub flips: Vec<Ulid>,
}

/// The largest number of small objects (flip records, intents) that are read concurrently.
const MAX_CONCURRENT_READS: usize = 16;

impl Look {
    /// Loads the table first, then the rest. Any later change to the table makes the flip's `VersionId` stale.
    pub async fn at(world: &World, dataset: &Dataset, candidate: &Generation) -> Result<Look> {
        let table = world.catalog.table(&dataset.table).await?;
        let live = live_of(world, dataset, table.as_ref()).await?;
        let since = history::since(&live, candidate);
        let (hold, flips, live_manifest) = futures::try_join!(
            hold(world, dataset),
            flips(world, dataset, since),
            live_manifest(world, dataset, &live),
        )?;
        Ok(Look::of(dataset, Begun { table, live, live_manifest }, hold, flips))
    }

    fn of(dataset: &Dataset, begun: Begun, hold: Option<Hold>, flips: Vec<(Ulid, Flip)>) -> Look {
        let Begun { table, live, live_manifest } = begun;
        let (flips, records) = flips.into_iter().unzip();
        let state = State {
            live_as_of: live_manifest.as_ref().map(|manifest| manifest.as_of),
            live,
            flips: records,
            hold,
            live_is_merge: live_manifest.as_ref().is_some_and(|manifest| manifest.merge.is_some()),
            may_create: dataset.create,
        };
        Look { table, state, live_manifest, flips }
    }

    /// Ensures that live has a flip record if it is managed. Returns the record if it had to be written.
    pub async fn recover(&self, world: &World, dataset: &Dataset) -> Result<Option<(Ulid, Flip)>> {
        if let Some(live) = self.state.live.generation().filter(|live| self.state.was_live(live)) {
            return self.recover_return(world, dataset, live).await;
        }
        let base = self.live_manifest.as_ref().and_then(|manifest| manifest.base.as_ref());
        let Some((from, to)) = history::unrecorded(&dataset.home, &self.state, base) else { return Ok(None) };
        let ulid = record::later(world.clock.ulid(), self.flips.iter().copied().chain([to.ulid]));
        let flip = Flip {
            dataset: dataset.name.clone(),
            at: world.clock.now(),
            from,
            to,
            by: By::Recovered,
            why: None,
            canary: canary::pending(dataset),
        };
        world.objects.put_new(&dataset.home.flip(ulid), record::to_json(&flip).into()).await?;
        Ok(Some((ulid, flip)))
    }

    /// Rewrites the record of the flip that brought live back, if it was lost. Returns the record if it was rewritten.
    async fn recover_return(&self, world: &World, dataset: &Dataset, live: Generation) -> Result<Option<(Ulid, Flip)>> {
        let Some((last_ulid, last)) = self.last_flip().filter(|(_, last)| last.to != live) else { return Ok(None) };
        let returned = returned(world, dataset, &live).await?;
        let last_return = returned.into_iter().max_by_key(|returned| returned.flip);
        let Some(returned) = last_return.filter(|returned| returned.flip > last_ulid) else { return Ok(None) };
        // If the table has changed, the last record may be of a flip away from live, and the intent one that was never
        // carried out.
        if !self.is_current(world, dataset).await? {
            return Ok(None);
        }
        let flip = Flip {
            dataset: dataset.name.clone(),
            at: world.clock.now(),
            from: Some(dataset.home.generation(&last.to)),
            to: live,
            by: returned.by,
            why: returned.why,
            canary: None,
        };
        world.objects.put_new(&dataset.home.flip(returned.flip), record::to_json(&flip).into()).await?;
        Ok(Some((returned.flip, flip)))
    }

    /// Checks that the table still has the `VersionId` that was read. If so, nothing read since is from a later flip.
    pub async fn is_current(&self, world: &World, dataset: &Dataset) -> Result<bool> {
        let now = world.catalog.table(&dataset.table).await?;
        let version = |table: &Option<TableVersion>| table.as_ref().and_then(|table| table.token.clone());
        Ok(version(&self.table) == version(&now))
    }

    /// Returns the loaded flips with their ULIDs.
    pub fn recorded(&self) -> Vec<(Ulid, Flip)> {
        self.flips.iter().copied().zip(self.state.flips.iter().cloned()).collect()
    }

    /// Returns the last flip on record.
    pub fn last_flip(&self) -> Option<(Ulid, Flip)> {
        self.flips.last().copied().zip(self.state.flips.last().cloned())
    }
}

/// The part of a table's state that must be loaded first. The rest can be loaded while other objects are read.
pub struct Begun {
    pub table: Option<TableVersion>,
    pub live: Live,
    /// `None` if live is unmanaged.
    pub live_manifest: Option<Manifest>,
}

impl Begun {
    /// Reads the table, then the manifest of live.
    pub async fn now(world: &World, dataset: &Dataset) -> Result<Begun> {
        let table = world.catalog.table(&dataset.table).await?;
        let live = live_of(world, dataset, table.as_ref()).await?;
        let live_manifest = live_manifest(world, dataset, &live).await?;
        Ok(Begun { table, live, live_manifest })
    }

    /// Reads the operator's hold. A hold that is written later makes the flip's `VersionId` stale.
    pub async fn hold(&self, world: &World, dataset: &Dataset) -> Result<Option<Hold>> {
        hold(world, dataset).await
    }

    /// Completes the state with the hold from [`Begun::hold`] and the flip records.
    pub async fn finish(self, world: &World, dataset: &Dataset, hold: Option<Hold>) -> Result<Look> {
        let since = self.live.generation().map(|generation| generation.ulid);
        let flips = flips(world, dataset, since).await?;
        Ok(Look::of(dataset, self, hold, flips))
    }
}

/// Returns what is live, or the error with which `flip` would refuse the table, so that no work is wasted.
pub async fn live_to_follow(world: &World, dataset: &Dataset) -> Result<Live> {
    let live = live(world, dataset).await?;
    if live == Live::NoTable && !dataset.create {
        return Err(Error::config(format!(
            "the table {} does not exist and datasets.{} has create = false: create the table first",
            dataset.table, dataset.name
        )));
    }
    Ok(live)
}

/// Returns the table's partition keys, or `None` if there is no table.
pub async fn partition_keys(world: &World, dataset: &Dataset) -> Result<Option<Vec<Column>>> {
    Ok(world.catalog.table(&dataset.table).await?.map(|table| table.partition_keys))
}

/// Returns what the Glue table's `Location` names.
pub async fn live(world: &World, dataset: &Dataset) -> Result<Live> {
    let table = world.catalog.table(&dataset.table).await?;
    live_of(world, dataset, table.as_ref()).await
}

async fn live_of(world: &World, dataset: &Dataset, table: Option<&TableVersion>) -> Result<Live> {
    let location = match table {
        None => None,
        Some(table) => {
            let location = flippable_location(world, table).await?;
            check_partition_keys(dataset, &table.partition_keys)?;
            Some(location)
        }
    };
    Ok(Live::of(&dataset.home, location.as_ref()))
}

/// Returns where the table is, if a flip can switch it: see [`TableVersion::flippable_location`].
pub async fn flippable_location(world: &World, table: &TableVersion) -> Result<Location> {
    let registered = table.has_unprojected_keys() && world.catalog.has_partitions(&table.name).await?;
    table.flippable_location(registered)
}

/// Checks that the table's partition keys are those of the dataset.
///
/// A flip does not change partition keys: the columns would have to change too, and queries name the old keys.
fn check_partition_keys(dataset: &Dataset, keys: &[Column]) -> Result<()> {
    if keys.iter().map(|key| &key.name).eq(&dataset.partition_by) {
        return Ok(());
    }
    let listed = |names: Vec<&str>| if names.is_empty() { "nothing".into() } else { names.join(", ") };
    Err(Error::config(format!(
        "{} is partitioned by {}, but datasets.{}.partition_by lists {}: a flip can't change partition keys; set \
         partition_by to the table's keys, or give the dataset another table",
        dataset.table,
        listed(keys.iter().map(|key| key.name.as_str()).collect()),
        dataset.name,
        listed(dataset.partition_by.iter().map(String::as_str).collect()),
    )))
}

async fn live_manifest(world: &World, dataset: &Dataset, live: &Live) -> Result<Option<Manifest>> {
    match live.generation() {
        None => Ok(None),
        Some(generation) => super::manifest(world, dataset, &generation).await,
    }
}

/// Reads the intents in `_returns/` to bring a generation back. An intent may never have been carried out.
pub async fn returned(world: &World, dataset: &Dataset, generation: &Generation) -> Result<Vec<Return>> {
    let after = dataset.home.returning(history::bound(generation.ulid));
    let listed = world.objects.list(&dataset.home.returns(), Some(&after)).await?;
    let read = stream::iter(listed).map(|entry| async move {
        let json = world.objects.get(&entry.key).await?;
        json.map(|json| record::from_json::<Return>(&entry.key, &json)).transpose()
    });
    let read: Vec<Option<Return>> = read.buffered(MAX_CONCURRENT_READS).try_collect().await?;
    Ok(read.into_iter().flatten().filter(|returned| returned.to == *generation).collect())
}

/// Reads the operator's hold. Returns `None` if there is none, or if it was released.
pub async fn hold(world: &World, dataset: &Dataset) -> Result<Option<Hold>> {
    let key = dataset.home.hold();
    let found = world.objects.get(&key).await?;
    let hold: Option<Hold> = found.map(|json| record::from_json(&key, &json)).transpose()?;
    Ok(hold.filter(|hold| !hold.released))
}

/// Reads the flip records since a ULID's time, in order. Without a bound, reads only the last record of all.
pub async fn flips(world: &World, dataset: &Dataset, since: Option<Ulid>) -> Result<Vec<(Ulid, Flip)>> {
    let after = since.map(|since| dataset.home.flip(history::bound(since)));
    let listed = world.objects.list(&dataset.home.flips(), after.as_ref()).await?;
    let skip = if since.is_some() { 0 } else { listed.len().saturating_sub(1) };
    let keys = listed.into_iter().skip(skip).map(|entry| entry.key);
    let read: Vec<_> = keys.map(|key| read_flip(world.objects.clone(), dataset.home.parse_flip(&key), key)).collect();
    let read: Vec<Option<(Ulid, Flip)>> = stream::iter(read).buffered(MAX_CONCURRENT_READS).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// Reads one flip record. Returns `None` if the key is unmanaged, or if sweep has deleted the record: then no decision
/// needs it.
async fn read_flip(objects: Arc<dyn Objects>, ulid: Option<Ulid>, key: Key) -> Result<Option<(Ulid, Flip)>> {
    let Some(ulid) = ulid else { return Ok(None) };
    let json = objects.get(&key).await?;
    json.map(|json| Ok((ulid, record::from_json(&key, &json)?))).transpose()
}

/// Checks that a generation is not being deleted. The caller must check after it reads the table's `VersionId` and
/// before the audit: see the proof in `sweep`.
pub async fn refuse_swept(world: &World, dataset: &Dataset, generation: &Generation) -> Result<()> {
    match world.objects.head(&dataset.home.sweeping(generation)).await? {
        None => Ok(()),
        Some(_) => Err(Error::conflict(format!(
            "{generation} of {} is being swept and can't be made live; `status` lists the generations that remain",
            dataset.table
        ))),
    }
}

//! Loads a table's state: the table itself, and everything else that a decision about it is based on.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use ulid::Ulid;

use super::{
    identity,
    manifests::{manifest, manifest_at},
    retired,
};
use crate::environment::Environment;
use turntable_core::{
    audit::is_same_key,
    config::Dataset,
    decision::{FlipState, Live},
    error::{Error, Result},
    history,
    layout::{Generation, Key, Location, TablePaths},
    manifest::Manifest,
    port::Objects,
    record::{self, Canary, Flip, FlipOrigin, Hold, RevertIntent},
    schema::Column,
    table::TableVersion,
    verify,
};

/// Everything that a decision about a table is based on.
pub struct TableState {
    /// The table with its `VersionId`, or `None` if it does not exist. It was read before all the other fields.
    pub table: Option<TableVersion>,
    pub state: FlipState,
    /// The live generation's manifest. `None` if no managed generation is live, or if the manifest is missing.
    pub live_manifest: Option<Manifest>,
    /// If the dataset's table or location has changed, the manifest of the generation that the table still reads in
    /// another folder. `None` if it reads none.
    pub elsewhere: Option<Manifest>,
    /// The ULIDs of the flip records in `state.flips`, in the same order.
    pub flips: Vec<Ulid>,
}

/// The maximum number of small objects (flip records, intents) that are read concurrently.
const MAX_CONCURRENT_READS: usize = 16;

impl TableState {
    /// Loads the table first, then the rest, so that any later change to the table makes the loaded `VersionId` stale.
    ///
    /// How many flip records are loaded depends on `candidate`: see [`history::since`].
    pub async fn at(env: &Environment, dataset: &Dataset, candidate: &Generation) -> Result<TableState> {
        let table = env.catalog.table(&dataset.table).await?;
        let live = live_of(env, dataset, table.as_ref()).await?;
        let since = history::since(&live, candidate);
        let (hold, flips, live_manifest) = futures::try_join!(
            hold(env, dataset, &live),
            flips(env, dataset, since),
            live_manifest(env, dataset, &live),
        )?;
        let moved_away = retired::moved_away(env, dataset, &live, &flips).await?;
        let more = (moved_away, elsewhere(env, dataset, &live).await);
        Ok(TableState::of(dataset, TableHead { table, live, live_manifest }, hold, flips, more))
    }

    /// Returns the table's columns or, if somebody has changed them since the last flip, the columns that it should
    /// have. Returns `None` if there is no table. A flip compares the new files with these columns, so an edit doesn't
    /// cause a rejection, and the flip undoes it.
    pub fn columns(&self) -> Option<Vec<Column>> {
        let table = self.table.as_ref()?;
        Some(match self.published() {
            Some(live) => verify::published_columns(&table.columns, live),
            None => table.columns.clone(),
        })
    }

    /// Returns the table's partition keys or, if somebody has changed their types since the last flip, the keys that it
    /// should have. Returns `None` if there is no table.
    pub fn partition_keys(&self) -> Option<Vec<Column>> {
        let keys = &self.table.as_ref()?.partition_keys;
        let published = |key: &Column| {
            let mut partitions = self.published().into_iter().flat_map(|live| &live.partitions);
            partitions.find(|partition| partition.column.name == key.name).map(|partition| partition.column.clone())
        };
        let restored = |key: &Column| published(key).filter(|column| !is_same_key(column, key));
        Some(keys.iter().map(|key| restored(key).unwrap_or_else(|| key.clone())).collect())
    }

    /// Returns the manifest of the generation that the table reads, in the dataset's folder or in an earlier one.
    pub fn published(&self) -> Option<&Manifest> {
        self.live_manifest.as_ref().or(self.elsewhere.as_ref())
    }

    fn of(
        dataset: &Dataset,
        head: TableHead,
        hold: Option<Hold>,
        flips: Vec<(Ulid, Flip)>,
        (moved_away, elsewhere): (Option<Timestamp>, Option<Manifest>),
    ) -> TableState {
        let TableHead { table, live, live_manifest } = head;
        let (flips, records) = flips.into_iter().unzip();
        let may_adopt = !is_elsewhere(&live) || matches!(&live, Live::Unmanaged(at) if dataset.trusts(at));
        let state = FlipState {
            may_adopt,
            live_as_of: live_manifest.as_ref().map(Manifest::snapshot_at),
            live,
            flips: records,
            hold,
            moved_away,
            live_is_merge: live_manifest.as_ref().is_some_and(|manifest| manifest.merge.is_some()),
            may_create: dataset.create,
            only_forward: dataset.filters.is_some(),
        };
        TableState { table, state, live_manifest, elsewhere, flips }
    }

    /// Ensures that the live generation, if it is managed, has a flip record. Returns the record if it had to be
    /// written.
    pub async fn recover(&self, env: &Environment, dataset: &Dataset) -> Result<Option<(Ulid, Flip)>> {
        if let Some(live) = self.state.live.generation().filter(|live| self.state.was_live(live)) {
            return self.recover_return(env, dataset, live).await;
        }
        let base = self.live_manifest.as_ref().and_then(|manifest| manifest.base.as_ref());
        let Some((from, to)) = history::unrecorded(&dataset.paths, &self.state, base) else { return Ok(None) };
        let ulid = record::later(env.clock.ulid(), self.flips.iter().copied().chain([to.ulid]));
        let flip = Flip {
            dataset: dataset.name.clone(),
            at: env.clock.now(),
            from,
            to,
            by: FlipOrigin::Recovered,
            why: None,
            canary: pending_canary(dataset),
            adopted: None,
            request_id: env.request_id(),
        };
        env.objects.put_new(&dataset.paths.flip(ulid), record::to_json(&flip).into()).await?;
        Ok(Some((ulid, flip)))
    }

    /// If an intent for `live` in `_returns/` is later than the last flip record, writes the missing record of the flip
    /// that brought `live` back. Returns the record if it was written.
    async fn recover_return(
        &self,
        env: &Environment,
        dataset: &Dataset,
        live: Generation,
    ) -> Result<Option<(Ulid, Flip)>> {
        let Some((last_ulid, last)) = self.last_flip().filter(|(_, last)| last.to != live) else { return Ok(None) };
        let returned = returned(env, dataset, &live).await?;
        let last_return = returned.into_iter().max_by_key(|returned| returned.flip);
        let Some(returned) = last_return.filter(|returned| returned.flip > last_ulid) else { return Ok(None) };
        // If the table has changed since it was loaded, the last record may be for a flip away from `live`, and the
        // intent may never have been carried out.
        if !self.is_current(env, dataset).await? {
            return Ok(None);
        }
        let flip = Flip {
            dataset: dataset.name.clone(),
            at: env.clock.now(),
            from: Some(dataset.paths.generation(&last.to)),
            to: live,
            by: returned.by,
            why: returned.why,
            canary: None,
            adopted: None,
            request_id: returned.request_id,
        };
        env.objects.put_new(&dataset.paths.flip(returned.flip), record::to_json(&flip).into()).await?;
        Ok(Some((returned.flip, flip)))
    }

    /// Returns whether the table still has the `VersionId` that was loaded. If so, no flip was made while the rest of
    /// the state was loaded.
    pub async fn is_current(&self, env: &Environment, dataset: &Dataset) -> Result<bool> {
        let now = env.catalog.table(&dataset.table).await?;
        let version = |table: &Option<TableVersion>| table.as_ref().and_then(|table| table.token.clone());
        Ok(version(&self.table) == version(&now))
    }

    /// Returns the loaded flip records with their ULIDs, oldest first.
    pub fn recorded(&self) -> Vec<(Ulid, Flip)> {
        self.flips.iter().copied().zip(self.state.flips.iter().cloned()).collect()
    }

    /// Returns the last flip record with its ULID. `None` if there is none.
    pub fn last_flip(&self) -> Option<(Ulid, Flip)> {
        self.flips.last().copied().zip(self.state.flips.last().cloned())
    }
}

/// Returns the manifest of the generation that the table reads in another folder of the bucket. `None` if it reads none
/// there.
async fn elsewhere(env: &Environment, dataset: &Dataset, live: &Live) -> Option<Manifest> {
    let Live::Unmanaged(location) = live else { return None };
    if TablePaths::of_generation(location).is_none() || location.bucket != dataset.paths.location().bucket {
        return None;
    }
    // A location that only looks like a generation's location has no manifest.
    manifest_at(env, location).await.ok().flatten()
}

/// The part of a table's state that must be loaded first. The caller can load the rest ([`TableHead::finish`]) while it
/// reads other objects.
pub struct TableHead {
    pub table: Option<TableVersion>,
    pub live: Live,
    /// The live generation's manifest. `None` if no managed generation is live, or if the manifest is missing.
    pub live_manifest: Option<Manifest>,
}

impl TableHead {
    /// Reads the table, then the live generation's manifest.
    pub async fn now(env: &Environment, dataset: &Dataset) -> Result<TableHead> {
        let table = env.catalog.table(&dataset.table).await?;
        let live = live_of(env, dataset, table.as_ref()).await?;
        let live_manifest = live_manifest(env, dataset, &live).await?;
        Ok(TableHead { table, live, live_manifest })
    }

    /// Reads the operator's hold. Returns `None` if there is none, or if it was released. A hold that is written after
    /// this read also fences the table, so it makes the loaded `VersionId` stale.
    pub async fn hold(&self, env: &Environment, dataset: &Dataset) -> Result<Option<Hold>> {
        hold(env, dataset, &self.live).await
    }

    /// Loads the flip records, and returns the complete state, which includes them and `hold`.
    pub async fn finish(self, env: &Environment, dataset: &Dataset, hold: Option<Hold>) -> Result<TableState> {
        let since = self.live.generation().map(|generation| generation.ulid);
        let flips = flips(env, dataset, since).await?;
        let moved_away = retired::moved_away(env, dataset, &self.live, &flips).await?;
        let more = (moved_away, elsewhere(env, dataset, &self.live).await);
        Ok(TableState::of(dataset, self, hold, flips, more))
    }
}

/// Returns what is live, for a run that will build the generation to replace it. Fails if a flip would refuse the table
/// anyway, so that no generation is built in vain.
pub async fn live_to_follow(env: &Environment, dataset: &Dataset) -> Result<Live> {
    let live = live(env, dataset).await?;
    if live == Live::NoTable && !dataset.create {
        return Err(Error::config(format!(
            "the table {} does not exist and datasets.{} has create = false: create the table first",
            dataset.table, dataset.name
        )));
    }
    Ok(live)
}

/// Returns the table's partition keys, or `None` if there is no table.
pub async fn partition_keys(env: &Environment, dataset: &Dataset) -> Result<Option<Vec<Column>>> {
    Ok(env.catalog.table(&dataset.table).await?.map(|table| table.partition_keys))
}

/// Returns what the Glue table's `Location` names. Fails if a flip can't move the table: see [`flippable_location`].
/// Also fails if the table's partition keys are not those in the dataset's configuration.
pub async fn live(env: &Environment, dataset: &Dataset) -> Result<Live> {
    let table = env.catalog.table(&dataset.table).await?;
    live_of(env, dataset, table.as_ref()).await
}

pub(super) async fn live_of(env: &Environment, dataset: &Dataset, table: Option<&TableVersion>) -> Result<Live> {
    let live = match table {
        None => Live::NoTable,
        Some(table) => {
            let location = flippable_location(env, table).await?;
            check_partition_keys(dataset, &table.partition_keys)?;
            Live::of(&dataset.paths, Some(&location))
        }
    };
    identity::check(env, dataset, &live).await?;
    if let Some(kind) = table.and_then(|table| table.unadoptable)
        && is_elsewhere(&live)
        && flips(env, dataset, None).await?.is_empty()
    {
        return Err(Error::config(format!(
            "{} is {kind}, and Turntable doesn't take such a table over, because readers or its owner rely on files that \
             Turntable doesn't write: make it a plain external Parquet table, or give the dataset another table",
            dataset.table
        )));
    }
    Ok(live)
}

/// Returns whether a table reads files that Turntable didn't write. If its dataset has no flip on record, Turntable has
/// never published the table, and the first flip adopts it.
pub(super) fn is_elsewhere(live: &Live) -> bool {
    matches!(live, Live::Unmanaged(location) if TablePaths::of_generation(location).is_none())
}

/// Returns the table's location. Fails if a flip can't change this location: see [`TableVersion::flippable_location`].
pub async fn flippable_location(env: &Environment, table: &TableVersion) -> Result<Location> {
    // For a link or a federated table, Glue would look up the partitions elsewhere, which may fail.
    let registered =
        table.unsupported.is_none() && table.has_unprojected_keys() && env.catalog.has_partitions(&table.name).await?;
    table.flippable_location(registered)
}

/// Checks that the table's partition keys are those in the dataset's configuration.
///
/// A flip does not change partition keys, because the columns would have to change too, and queries name the old keys.
fn check_partition_keys(dataset: &Dataset, keys: &[Column]) -> Result<()> {
    if keys.iter().map(|key| &key.name).eq(&dataset.partition_by) {
        return Ok(());
    }
    let keys: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let table =
        if keys.is_empty() { "is not partitioned".into() } else { format!("is partitioned by {}", keys.join(", ")) };
    let wanted = dataset.partition_by.join(", ");
    let wanted = if wanted.is_empty() { "is not set".into() } else { format!("lists {wanted}") };
    Err(Error::config(format!(
        "{} {table}, but datasets.{}.partition_by {wanted}: a flip can't change partition keys; make partition_by match \
         the table, or give the dataset another table",
        dataset.table, dataset.name,
    )))
}

async fn live_manifest(env: &Environment, dataset: &Dataset, live: &Live) -> Result<Option<Manifest>> {
    match live.generation() {
        None => Ok(None),
        Some(generation) => manifest(env, dataset, &generation).await,
    }
}

/// Returns the revert intents for `generation` that are recorded in `_returns/`. Some may never have been carried out.
pub async fn returned(env: &Environment, dataset: &Dataset, generation: &Generation) -> Result<Vec<RevertIntent>> {
    let after = dataset.paths.revert_intent(history::bound(generation.ulid));
    let listed = env.objects.list(&dataset.paths.revert_intents(), Some(&after)).await?;
    let read = stream::iter(listed).map(|entry| async move { env.record(&entry.key).await });
    let read: Vec<Option<RevertIntent>> = read.buffered(MAX_CONCURRENT_READS).try_collect().await?;
    Ok(read.into_iter().flatten().filter(|returned| returned.to == *generation).collect())
}

/// Reads the operator's hold. Returns `None` if there is none, or if it was released.
///
/// A hold follows the table: if the dataset's location was changed and `live` is a generation in the old folder, a hold
/// in that folder counts until the dataset's own folder has a hold, even a released one.
pub async fn hold(env: &Environment, dataset: &Dataset, live: &Live) -> Result<Option<Hold>> {
    let mut found: Option<Hold> = env.record(&dataset.paths.hold()).await?;
    if let (None, Live::Unmanaged(location)) = (&found, live)
        && let Some((elsewhere, _)) = TablePaths::of_generation(location)
        // The functions' roles can't read other buckets.
        && elsewhere.location().bucket == dataset.paths.location().bucket
    {
        found = env.record(&elsewhere.hold()).await?;
    }
    Ok(found.filter(|hold| !hold.released))
}

/// Reads the flip records that aren't older than the time in `since`, oldest first. If `since` is `None`, reads only
/// the last record.
pub async fn flips(env: &Environment, dataset: &Dataset, since: Option<Ulid>) -> Result<Vec<(Ulid, Flip)>> {
    let after = since.map(|since| dataset.paths.flip(history::bound(since)));
    let listed = env.objects.list(&dataset.paths.flips(), after.as_ref()).await?;
    let skip = if since.is_some() { 0 } else { listed.len().saturating_sub(1) };
    let keys = listed.into_iter().skip(skip).map(|entry| entry.key);
    let read: Vec<_> = keys.map(|key| read_flip(env.objects.clone(), dataset.paths.parse_flip(&key), key)).collect();
    let read: Vec<Option<(Ulid, Flip)>> = stream::iter(read).buffered(MAX_CONCURRENT_READS).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// Reads one flip record. `ulid` comes from its key, and is `None` if the key is not a flip record's. Returns `None` in
/// that case, and also if sweep has deleted the record. Sweep deletes only records that no decision needs any more.
async fn read_flip(objects: Arc<dyn Objects>, ulid: Option<Ulid>, key: Key) -> Result<Option<(Ulid, Flip)>> {
    let Some(ulid) = ulid else { return Ok(None) };
    let json = objects.get(&key).await?;
    json.map(|json| Ok((ulid, record::from_json(&key, &json)?))).transpose()
}

/// Fails as `Conflict` if sweep is deleting the generation. The caller must check this after it reads the table's
/// `VersionId` and before it audits the generation: see the proof in `sweep`.
pub async fn ensure_not_deleting(env: &Environment, dataset: &Dataset, generation: &Generation) -> Result<()> {
    match env.objects.head(&dataset.paths.sweeping(generation)).await? {
        None => Ok(()),
        Some(_) => Err(Error::conflict(format!(
            "{generation} of {} is being swept and can't be made live; `status` lists the generations that remain",
            dataset.table
        ))),
    }
}

/// Returns the canary's state in a new flip record: pending, or `None` if the dataset has no canary.
pub fn pending_canary(dataset: &Dataset) -> Option<Canary> {
    dataset.checks.canary.as_ref().map(|_| Canary::Pending)
}

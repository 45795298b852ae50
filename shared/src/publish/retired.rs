//! Reads and changes the records of tables that are no longer configured: see [`turntable_core::retired`].

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use turntable_core::{
    config::{Config, Dataset},
    decision::Live,
    error::{Error, Kind, Result},
    layout::{Key, Location, TablePaths},
    port::Put,
    record::{self, Flip, OldTable, PublishedTable},
    retired::{self, Retired},
};
use ulid::Ulid;

use super::attempts::Attempts;
use crate::environment::Environment;

/// A record as it was read, with its ETag.
#[derive(Debug, Clone)]
pub struct Found {
    pub record: Retired,
    etag: String,
}

/// Reads the record of a table's folder. Returns `None` if there is none.
pub async fn read(env: &Environment, home: &Location) -> Result<Option<Found>> {
    read_at(env, &retired::key(home)).await
}

async fn read_at(env: &Environment, key: &Key) -> Result<Option<Found>> {
    let mut attempts = Attempts::on(key);
    loop {
        attempts.begin()?;
        let Some(entry) = env.objects.head(key).await? else { return Ok(None) };
        match env.objects.range(key, &entry.etag, 0..entry.size).await {
            Ok(json) => return Ok(Some(Found { record: record::from_json(key, &json)?, etag: entry.etag })),
            // Another invocation replaced the record between the two calls. Read it again.
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}

/// Creates the record of a table's folder. Returns `false` if there already is one.
pub async fn create(env: &Environment, record: &Retired) -> Result<bool> {
    let json = record::to_json(record).into();
    Ok(env.objects.put_new(&retired::key(&record.location), json).await? == Put::Created)
}

impl Found {
    /// Replaces the record, unless it has changed since it was read. Returns `false` if it has; the caller must read it
    /// again.
    pub async fn replace(&self, env: &Environment, with: &Retired) -> Result<bool> {
        env.objects.replace(&retired::key(&with.location), &self.etag, record::to_json(with).into()).await
    }
}

/// Returns when an operator's request moved the dataset's table away from the dataset's folder. Returns `None` unless
/// the table is still in its new folder and the dataset's `location` names the old folder again. Without this, it would
/// look as if somebody else had moved the table. `flips` contains the last flip in the dataset's folder, if any.
pub(super) async fn moved_away(
    env: &Environment,
    dataset: &Dataset,
    live: &Live,
    flips: &[(Ulid, Flip)],
) -> Result<Option<Timestamp>> {
    let (Live::Unmanaged(at), Some((_, last))) = (live, flips.last()) else { return Ok(None) };
    let Some((elsewhere, _)) = TablePaths::of_generation(at) else { return Ok(None) };
    let Some(Found { record, .. }) = read(env, dataset.paths.location()).await? else { return Ok(None) };
    if record.moved_to.is_none() || record.at <= last.at || at.bucket != dataset.paths.location().bucket {
        return Ok(None);
    }
    let published: Option<PublishedTable> = env.record(&elsewhere.table()).await?;
    Ok(published.filter(|published| published.name() == dataset.table).map(|_| record.at))
}

/// Returns whether an operator has decided about the table in this folder and the decision was carried out. If a table
/// that should have been dropped still exists, it needs attention, because the request must be repeated.
pub async fn is_decided(env: &Environment, paths: &TablePaths) -> Result<bool> {
    let Some(found) = read(env, paths.location()).await?.filter(|found| !found.record.released) else {
        return Ok(false);
    };
    let is_dropped = found.record.old_table == OldTable::Drop;
    Ok(!(is_dropped && env.catalog.table(&found.record.name()).await?.is_some()))
}

/// The maximum number of records that are read at the same time.
const MAX_CONCURRENT_READS: usize = 16;

/// Reads all records in the buckets of the configured datasets.
pub async fn all(env: &Environment, config: &Config) -> Result<Vec<Found>> {
    let buckets: BTreeSet<&str> = config.datasets().map(|dataset| dataset.paths.location().bucket.as_str()).collect();
    let mut keys = Vec::new();
    for bucket in buckets {
        keys.extend(env.objects.list(&retired::folder(bucket), None).await?.into_iter().map(|entry| entry.key));
    }
    let read = keys.into_iter().map(|key| async move { read_at(env, &key).await });
    let read: Vec<_> = stream::iter(read.collect::<Vec<_>>()).buffered(MAX_CONCURRENT_READS).try_collect().await?;
    Ok(read.into_iter().flatten().collect())
}

/// Releases the record of a folder that a dataset publishes to again. The caller must do this after it reads the table
/// and before it audits the candidate: see the proof in [`turntable_core::retired`]. `live` is what the table reads. As
/// long as that is a generation in the folder, nothing needs to be released.
///
/// Fails with `Conflict` if a sweep is deleting the folder's files.
pub async fn release(env: &Environment, paths: &TablePaths, live: &Live) -> Result<()> {
    if matches!(live, Live::Managed(_)) {
        return Ok(());
    }
    let mut attempts = Attempts::on(retired::key(paths.location()));
    loop {
        attempts.begin()?;
        let found = read(env, paths.location()).await?;
        let Some(found) = found.filter(|found| !found.record.released) else { return Ok(()) };
        if found.record.is_claimed(env.clock.now()) {
            return Err(Error::conflict(format!(
                "sweep is deleting what {} published in {} before it was retired: invoke the function again in a few minutes",
                found.record.name(),
                paths.location()
            )));
        }
        if found.replace(env, &Retired { released: true, deleting: None, ..found.record.clone() }).await? {
            return Ok(());
        }
    }
}

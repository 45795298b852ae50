//! Reads and writes an inbox's published record: see [`turntable_core::optout::published`].

use turntable_core::{
    config::{Config, Dataset, Inbox, OptoutTable, Source},
    decision::Live,
    error::{Error, Result},
    layout::{Location, TablePaths},
    manifest::{File, InboxObject, Manifest},
    optout::{
        consumed,
        published::{self, Published},
    },
    port::{Entry, Put},
    record,
    table::TableVersion,
};
use turntable_sources::inbox;

use super::manifests::manifest_at;
use crate::environment::Environment;

/// Reads the published record of the inbox at a location. Returns `None` if none has been written.
pub async fn read(env: &Environment, inbox: &Location) -> Result<Option<Published>> {
    env.record(&published::key(inbox)).await
}

/// Returns whether an opt-out table contains everything: all drops in the inbox, and the generation in the published
/// record.
pub(super) async fn is_current(env: &Environment, optouts: &OptoutTable) -> Result<bool> {
    let (table, listed, record) = futures::try_join!(
        env.catalog.table(&optouts.table),
        inbox::list(&*env.objects, &optouts.inbox),
        read(env, &optouts.inbox),
    )?;
    let location = table.and_then(|table| table.place());
    let location = location.filter(|location| optouts.paths.parse_generation(location).is_some());
    let Some(location) = location else { return Ok(false) };
    let Some(live) = manifest_at(env, &location).await? else { return Ok(false) };
    let covered = record.is_none_or(|record| record.is_covered(&optouts.paths, Some(&live)));
    Ok(covered && live.merge.is_some() && consumed::unread(&listed, Some(&live)).is_empty())
}

/// Returns the configured inbox, if any, that still needs the opt-outs in a table's folder: its published record names
/// a generation there, and its own table doesn't contain everybody yet.
pub async fn needed_by(env: &Environment, config: &Config, paths: &TablePaths) -> Result<Option<OptoutTable>> {
    for optouts in config.known().filter_map(Dataset::optouts) {
        let record = read(env, &optouts.inbox).await?;
        if record.is_some_and(|record| record.is_of(paths)) && !is_current(env, &optouts).await? {
            return Ok(Some(optouts));
        }
    }
    Ok(None)
}

/// Returns the generations that the inbox has published but that the next merge would lack: the one on record, if the
/// base doesn't cover it, and live itself if it is an opt-out table under another name. `base` is the manifest of live,
/// or of the generation that replaces a damaged live one.
pub async fn elsewhere(
    env: &Environment,
    dataset: &Dataset,
    record: Option<&Published>,
    base: Option<&Manifest>,
    live: &Live,
) -> Result<Vec<Location>> {
    let uncovered = record.filter(|record| !record.is_covered(&dataset.paths, base));
    if let Some(record) = uncovered
        && !is_trusted(env, dataset, &record.location).await?
    {
        return Err(Error::conflict(format!(
            "{}: the record of what the inbox has published names {}, which is neither next to the table's folder nor read by \
             a table in the database, so somebody else may have written it. If the opt-outs of this inbox are there, set adopt = \"{}\" in datasets.{}; \
             otherwise restore the record",
            dataset.table, record.location, record.location, dataset.name
        )));
    }
    let mut all: Vec<Location> = uncovered.map(|record| record.location.clone()).into_iter().collect();
    let live = merge_elsewhere(env, live).await?;
    all.extend(live.filter(|live| !all.contains(live)));
    Ok(all)
}

/// Returns whether the opt-outs at a recorded location may be merged. Anybody who may write into the inbox might have
/// written the record, so the location must be next to the table's folder, be in a folder that a table in the catalog
/// reads, or be confirmed by `adopt`.
async fn is_trusted(env: &Environment, dataset: &Dataset, location: &Location) -> Result<bool> {
    let Source::Inbox(inbox) = &dataset.source else { return Ok(false) };
    if dataset.trusts(location) {
        return Ok(true);
    }
    let Some((paths, _)) = TablePaths::of_generation(location).filter(|_| !inbox.location.overlaps(location)) else {
        return Ok(false);
    };
    if dataset.paths.location().parent().is_some_and(|parent| parent.contains(location)) {
        return Ok(true);
    }
    let reads = |table: &TableVersion| table.place().is_some_and(|place| paths.parse_generation(&place).is_some());
    Ok(env.catalog.tables(&dataset.table.database, "").await?.iter().any(reads))
}

/// Returns the live location if it is unmanaged and has the manifest of a merge: an opt-out table that was published
/// under another name or location.
async fn merge_elsewhere(env: &Environment, live: &Live) -> Result<Option<Location>> {
    let Live::Unmanaged(location) = live else { return Ok(None) };
    let manifest = manifest_at(env, location).await?;
    Ok(manifest.and_then(|manifest| manifest.merge).map(|_| location.clone()))
}

/// Returns the manifest and the files of a generation that the inbox has published. Fails with `Corrupt` unless all
/// files exist, because a table without them would lack archived opt-outs.
pub async fn generation(
    env: &Environment,
    inbox: &Inbox,
    location: &Location,
) -> Result<(Manifest, Vec<(InboxObject, Entry)>)> {
    let lost = |what: String| {
        Error::corrupt(format!(
            "{}: the opt-outs of this inbox that were archived are in {location}, but {what}: restore it, or copy the \
             archived drops back into the inbox and delete {}",
            inbox.location,
            published::key(&inbox.location)
        ))
    };
    let (manifest, mut listed) = futures::try_join!(manifest_at(env, location), inbox::list(&*env.objects, location))?;
    let manifest = manifest.ok_or_else(|| lost("this generation has no manifest".into()))?;
    let of = |(object, entry): &(InboxObject, Entry), file: &File| file.is(&object.key, entry.size, &object.etag);
    if let Some(file) = manifest.files.iter().find(|file| !listed.iter().any(|found| of(found, file))) {
        return Err(lost(format!("its file {} is missing or has changed", file.key)));
    }
    listed.retain(|found| manifest.files.iter().any(|file| of(found, file)));
    Ok((manifest, listed))
}

/// Returns why a repair must not make `target` live: the inbox has published opt-outs that `target` lacks, or live is
/// an opt-out table under another name. Returns `None` if a repair may. The next refresh makes a generation live that
/// contains everything.
pub(super) async fn against(
    env: &Environment,
    dataset: &Dataset,
    live: &Live,
    target: &Manifest,
) -> Result<Option<String>> {
    let Source::Inbox(inbox) = &dataset.source else { return Ok(None) };
    let record = read(env, &inbox.location).await?.filter(|record| !record.is_covered(&dataset.paths, Some(target)));
    let location = match record {
        Some(record) => Some(record.location),
        None => merge_elsewhere(env, live).await?,
    };
    Ok(location.map(|location| {
        format!(
            "{} is not restored, because it may lack opt-outs in {location}: the next refresh merges them",
            target.generation
        )
    }))
}

/// Records that the live generation contains everything that the inbox has published. Returns `false`, and records
/// nothing, if live doesn't cover the recorded generation, or if another writer was first. In this case, no drop may be
/// archived.
///
/// `live` is the live generation's manifest.
pub async fn write(env: &Environment, dataset: &Dataset, inbox: &Inbox, live: &Manifest) -> Result<bool> {
    let at = published::key(&inbox.location);
    let next = Published {
        dataset: dataset.name.clone(),
        table: dataset.table.to_string(),
        location: live.location.clone(),
        rows: live.rows,
        at: env.clock.now(),
    };
    let body = record::to_json(&next);
    // The ETag is read first, so that the replacement fails if the record changes before it is read.
    let Some(entry) = env.objects.head(&at).await? else {
        return Ok(env.objects.put_new(&at, body.into()).await? == Put::Created);
    };
    let Some(recorded) = read(env, &inbox.location).await? else { return Ok(false) };
    if recorded.location == next.location {
        return Ok(true);
    }
    if !recorded.is_covered(&dataset.paths, Some(live)) {
        return Ok(false);
    }
    env.objects.replace(&at, &entry.etag, body.into()).await
}

//! Reads and writes the record of what an inbox has published: see [`turntable_core::optout::published`].

use turntable_core::{
    config::{Dataset, Inbox, Source},
    error::{Error, Result},
    layout::TablePaths,
    manifest::{InboxObject, Manifest},
    optout::published::{self, Published},
    port::{Entry, Put},
    record,
};
use turntable_sources::inbox;

use crate::environment::Environment;

/// Reads an inbox's record. Returns `None` if no sweep has written one.
pub async fn read(env: &Environment, inbox: &Inbox) -> Result<Option<Published>> {
    let at = published::key(&inbox.location);
    env.objects.get(&at).await?.map(|json| record::from_json(&at, &json)).transpose()
}

/// Lists the files of the generation that a record names. Fails as `Corrupt` unless all of them exist: a table without
/// them would lack archived opt-outs.
pub async fn files(env: &Environment, inbox: &Inbox, record: &Published) -> Result<Vec<(InboxObject, Entry)>> {
    let lost = |what: String| {
        Error::corrupt(format!(
            "{}: the opt-outs of this inbox that were archived are in {}, but {what}: restore it, or copy the archived \
             drops back into the inbox and delete {}",
            inbox.location,
            record.location,
            published::key(&inbox.location)
        ))
    };
    let (paths, generation) = TablePaths::of_generation(&record.location)
        .ok_or_else(|| lost("this is not the location of a generation".into()))?;
    let at = paths.manifest(&generation);
    let (json, listed) = futures::try_join!(env.objects.get(&at), inbox::list(&*env.objects, &record.location))?;
    let manifest = Manifest::from_json(&at, &generation, &json.ok_or_else(|| lost(format!("{at} is missing")))?)?;
    for file in &manifest.files {
        let same = |(object, entry): &(InboxObject, Entry)| {
            object.key == file.key && object.etag == file.etag && entry.size == file.bytes
        };
        if !listed.iter().any(same) {
            return Err(lost(format!("its file {} is missing or has changed", file.key)));
        }
    }
    Ok(listed.into_iter().filter(|(object, _)| manifest.files.iter().any(|file| file.key == object.key)).collect())
}

/// Returns why a repair must not make `target` live, if the inbox has published what `target` lacks. The next refresh
/// makes a generation live that has both.
pub(super) async fn against(env: &Environment, dataset: &Dataset, target: &Manifest) -> Result<Option<String>> {
    let Source::Inbox(inbox) = &dataset.source else { return Ok(None) };
    let missing = read(env, inbox).await?.filter(|record| !record.is_covered(&dataset.paths, Some(target)));
    Ok(missing.map(|record| {
        format!(
            "{} is not restored, because it lacks opt-outs in {}: the next refresh merges them",
            target.generation, record.location
        )
    }))
}

/// Records the live generation as one that contains everything the inbox has published. Returns `false`, and records
/// nothing, if live doesn't cover what is recorded now, or if another writer was first. Then no drop may be archived.
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
    // The ETag is read first: if the record changes before it is read, the replacement fails.
    let Some(entry) = env.objects.head(&at).await? else {
        return Ok(env.objects.put_new(&at, body.into()).await? == Put::Created);
    };
    let Some(recorded) = read(env, inbox).await? else { return Ok(false) };
    if recorded.location == next.location {
        return Ok(true);
    }
    if !recorded.is_covered(&dataset.paths, Some(live)) {
        return Ok(false);
    }
    env.objects.replace(&at, &entry.etag, body.into()).await
}

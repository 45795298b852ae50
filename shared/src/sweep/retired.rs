//! Sweeps the folders of tables that are no longer configured, as an operator has decided. See
//! [`turntable_core::retired`].
//!
//! If the table is kept, the generations that it doesn't read are swept by the usual rules. If the table was dropped,
//! everything in its folder is deleted once no table reads from the folder and `drain` has passed. Only the small
//! records without rows that a returning dataset needs stay: its table's name, and a hold.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tracing::{error, info};
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
    layout::{Key, Location, ObjectKind, TableName, TablePaths, time_of},
    port::MAX_DELETES_PER_REQUEST,
    record::{Canary, OldTable},
    retired::Retired,
    sweep::{OldestQuery, plan},
};

use super::{
    act::{act, delete},
    answer::{Item, Skipped, Swept},
    contents::{abandoned_uploads, load},
    one::Round,
};
use crate::{
    catalog::{self, Reader},
    environment::Environment,
    publish::{
        self, identity, published,
        retired::{self, Found},
    },
};

/// Sweeps the folders of all retired tables. Adds what was done to `swept`. Returns the dataset's name and an error for
/// each table that couldn't be swept.
pub(super) async fn sweep_retired(round: &Round<'_>, config: &Config, swept: &mut Swept) -> Vec<(String, Error)> {
    let mut failures = Vec::new();
    let all = match retired::all(&round.sweep.env, config).await {
        Ok(all) => all,
        Err(failure) => return vec![("the retired tables".into(), failure)],
    };
    for found in all {
        let Retired { dataset, deleted, released, .. } = found.record.clone();
        if released || deleted.is_some() {
            continue;
        }
        if let Err(failure) = Box::pin(sweep_one(round, config, &found, swept)).await {
            let (kind, reason) = (failure.kind().as_str(), failure.report());
            error!(dataset, kind, error = reason, "retired table not swept");
            swept.skipped.push(Skipped { dataset: dataset.clone(), reason, error: Some(kind) });
            failures.push((dataset, failure));
        }
    }
    failures
}

async fn sweep_one(round: &Round<'_>, config: &Config, found: &Found, swept: &mut Swept) -> Result<()> {
    let (env, record) = (&round.sweep.env, &found.record);
    let paths = TablePaths::at(record.location.clone());
    if config.known().any(|dataset| dataset.paths == paths) {
        if !round.dry_run && !record.is_claimed(round.now) {
            found.replace(env, &Retired { released: true, deleting: None, ..record.clone() }).await?;
        }
        return Ok(());
    }
    // Only the stack that published the table knows who reads it, and how long its queries may take.
    if identity::other_stack(env, &paths).await?.is_some() {
        return Ok(());
    }
    let dataset = Dataset::retired((&record.dataset, record.name(), paths), config.datasets());
    if let Some(optouts) = published::needed_by(env, config, &dataset.paths).await? {
        let reason = format!("{} doesn't yet contain everybody whose opt-out is recorded here", optouts.dataset);
        swept.kept.push(item(&dataset, dataset.paths.location(), reason, None));
        return Ok(());
    }
    let readers = readers(round, record).await?;
    match record.old_table {
        OldTable::Keep => kept(round, &dataset, &readers, swept).await,
        OldTable::Drop => dropped(round, (config, &dataset), &readers, found, swept).await,
    }
}

/// Returns the tables that may read from the folder: all tables in the configured databases and in the retired table's
/// database.
async fn readers(round: &Round<'_>, record: &Retired) -> Result<Vec<Reader>> {
    if let Some((database, failure)) = round.tables.failed.iter().next() {
        let text = format!("it is unknown which tables in {database} read the files of {}", record.name());
        return Err(Error::new(failure.kind(), text).caused_by(Error::new(failure.kind(), failure.report())));
    }
    // These databases are listed here, because they may no longer be configured.
    let mut readers = round.tables.listed.clone();
    let renamed = record.renamed_to.as_ref().and_then(|name| name.parse::<TableName>().ok());
    for database in BTreeSet::from_iter([record.name()].into_iter().chain(renamed).map(|name| name.database)) {
        readers.extend(catalog::in_database(&round.sweep.env, &database).await?);
    }
    let paths = TablePaths::at(record.location.clone());
    let earlier = identity::read_by_earlier_names(&round.sweep.env, &paths, SignedDuration::ZERO).await?;
    readers.push(Reader { name: record.name(), locations: earlier });
    Ok(readers)
}

fn item(dataset: &Dataset, location: &impl ToString, reason: String, until: Option<Timestamp>) -> Item {
    Item { dataset: dataset.name.clone(), location: location.to_string(), reason, objects: 0, bytes: 0, until }
}

/// Sweeps the generations that a kept table doesn't read.
async fn kept(round: &Round<'_>, dataset: &Dataset, readers: &[Reader], swept: &mut Swept) -> Result<()> {
    let env = &round.sweep.env;
    let loaded = load(env, dataset, readers).await?;
    // The inbox's published record may name any generation of an opt-out table, and if the inbox is configured again,
    // it reads that generation.
    if loaded.live_manifest.as_ref().is_some_and(|live| live.merge.is_some()) {
        swept.kept.push(item(dataset, dataset.paths.location(), "an opt-out table that stays".into(), None));
        return Ok(());
    }
    let oldest_query = round.readers.oldest_query(dataset, &loaded.state).await?;
    let plan = match plan(&dataset.paths, &loaded.state, &dataset.retain, &oldest_query, round.now) {
        Ok(plan) => plan,
        Err(reason) => {
            swept.kept.push(item(dataset, dataset.paths.location(), reason, None));
            return Ok(());
        }
    };
    let uploads = abandoned_uploads(&loaded.uploads, &dataset.retain, round.now);
    let gone = match round.dry_run {
        true => plan.go.len(),
        // If the table has changed, the next sweep continues.
        false => match act(env, dataset, &loaded, &plan, &uploads, &round.budget).await? {
            Some(done) => {
                swept.more |= done.more;
                done.generations
            }
            None => 0,
        },
    };
    for (generation, reason) in &plan.go[..gone] {
        let (objects, bytes) =
            loaded.state.generations.get(generation).map_or((0, 0), |found| (found.objects.len() as u64, found.bytes));
        let item = item(dataset, &dataset.paths.generation(generation), reason.to_string(), None);
        swept.bytes += bytes;
        swept.deleted.push(Item { objects, bytes, ..item });
    }
    for kept in &plan.kept {
        let location = dataset.paths.generation(&kept.generation);
        swept.kept.push(item(dataset, &location, kept.reason.to_string(), kept.until));
    }
    Ok(())
}

/// Deletes everything that a dropped table has left in its folder, once no query can read it any more.
async fn dropped(
    round: &Round<'_>,
    (config, dataset): (&Config, &Dataset),
    readers: &[Reader],
    found: &Found,
    swept: &mut Swept,
) -> Result<()> {
    let (env, record) = (&round.sweep.env, &found.record);
    let home = &record.location;
    let reads = |reader: &&Reader| reader.locations.iter().any(|location| location.overlaps(home));
    let reader = readers.iter().find(reads).map(|reader| format!("{} reads from this folder", reader.name));
    let reason = match reader {
        Some(reason) => Some(reason),
        None => may_return(env, config, record).await?,
    };
    if let Some(reason) = reason {
        swept.kept.push(item(dataset, home, reason, None));
        if record.gone.is_some() && !round.dry_run {
            found.replace(env, &Retired { gone: None, ..record.clone() }).await?;
        }
        return Ok(());
    }
    let Some(gone) = record.gone else {
        let until = round.now.checked_add(dataset.retain.drain).ok();
        swept.kept.push(item(dataset, home, "draining: no table reads from this folder any more".into(), until));
        if !round.dry_run {
            found.replace(env, &Retired { gone: Some(round.now), ..record.clone() }).await?;
        }
        return Ok(());
    };
    if round.now.duration_since(gone) < dataset.retain.drain {
        let until = gone.checked_add(dataset.retain.drain).ok();
        let what = if record.moved_to.is_some() { "moved away" } else { "dropped" };
        swept.kept.push(item(dataset, home, format!("draining: the table was {what} at {gone}"), until));
        return Ok(());
    }
    if let OldestQuery::Known(Some(query)) = round.readers.oldest_in(&dataset.workgroups).await?
        && query < gone
    {
        let reason = format!("no table has read from here since {gone}, but a query from {query} is still running");
        swept.kept.push(item(dataset, home, reason, None));
        return Ok(());
    }
    if !round.dry_run {
        let claimed = Retired { deleting: Some(env.clock.now()), ..record.clone() };
        if !found.replace(env, &claimed).await? {
            // A dataset publishes here again, or another sweep claimed the record first.
            return Ok(());
        }
    }
    let Deleted { objects, bytes, more } = delete_all(round, dataset, record).await?;
    swept.more |= more;
    if objects > 0 {
        let reason = if record.moved_to.is_some() { "the table was moved" } else { "the table was retired" };
        let item = item(dataset, home, reason.into(), None);
        swept.bytes += bytes;
        swept.deleted.push(Item { objects, bytes, ..item });
    }
    if round.dry_run {
        return Ok(());
    }
    // A run that started before the request may write files until it counts as abandoned.
    let is_last = !more && round.now.duration_since(record.at) >= dataset.retain.abandoned;
    let Some(now) = retired::read(env, home).await? else { return Ok(()) };
    let deleted = is_last.then_some(round.now);
    info!(dataset = record.dataset, location = %home, objects, bytes, more, "retired table swept");
    now.replace(env, &Retired { deleting: None, deleted, ..now.record.clone() }).await.map(drop)
}

/// Returns why a moved table may still go back to the folder that it has left. `None` if nothing takes it back.
async fn may_return(env: &Environment, config: &Config, record: &Retired) -> Result<Option<String>> {
    let is_here = |dataset: &&Dataset| Some(dataset.paths.location()) == record.moved_to.as_ref();
    let Some(dataset) = config.datasets().find(is_here) else { return Ok(None) };
    let is_old = |from: &Location| from.overlaps(&record.location);
    if dataset.checks.canary.is_some()
        && let Some((_, last)) = publish::flips(env, dataset, None).await?.pop()
        && last.canary == Some(Canary::Pending)
        && last.from.as_ref().is_some_and(is_old)
    {
        return Ok(Some("the canary of the flip from this folder has not passed yet".into()));
    }
    let flipping = publish::group::record(env, dataset).await?.and_then(|record| record.flipping);
    let returns = flipping.is_some_and(|flipping| flipping.from.values().flatten().any(is_old));
    Ok(returns.then(|| "a flip of the group from this folder is unfinished".into()))
}

/// What was deleted or, in a dry run, would be deleted.
struct Deleted {
    objects: u64,
    bytes: u64,
    more: bool,
}

/// Deletes all generations that were started before the request, and the records about them. Manifests are deleted
/// first.
async fn delete_all(round: &Round<'_>, dataset: &Dataset, record: &Retired) -> Result<Deleted> {
    let (env, paths) = (&round.sweep.env, &dataset.paths);
    let (mut manifests, mut files, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for entry in env.objects.list(paths.location(), None).await? {
        let Some(kind) = paths.parse(&entry.key) else { continue };
        if began(kind).is_none_or(|began| began >= record.at) {
            continue;
        }
        bytes += entry.size;
        match kind {
            ObjectKind::Manifest(_) => manifests.push(entry.key),
            ObjectKind::Data(_) => files.push(entry.key),
            _ => records.push(entry.key),
        }
    }
    let all: Vec<Key> = manifests.into_iter().chain(files).chain(records).collect();
    if round.dry_run {
        return Ok(Deleted { objects: all.len() as u64, bytes, more: false });
    }
    abort_uploads(env, dataset, record).await?;
    let mut share = round.budget.take(all.len());
    let mut done = 0;
    for keys in all[..share.objects.min(all.len())].chunks(MAX_DELETES_PER_REQUEST) {
        if env.clock.now() >= round.budget.until {
            break;
        }
        delete(&env.objects, keys.to_vec()).await?;
        done += keys.len();
    }
    share.used(done);
    Ok(Deleted { objects: done as u64, bytes: if done == all.len() { bytes } else { 0 }, more: done < all.len() })
}

/// Returns when the object's generation or flip started, or `None` for a record that stays.
fn began(kind: ObjectKind) -> Option<Timestamp> {
    match kind {
        ObjectKind::Data(generation)
        | ObjectKind::Manifest(generation)
        | ObjectKind::Sweeping(generation)
        | ObjectKind::Verdict(generation)
        | ObjectKind::Pending(generation)
        | ObjectKind::Failed(generation) => Some(time_of(generation.ulid)),
        ObjectKind::Flip(flip) | ObjectKind::RevertIntent(flip) => Some(time_of(flip)),
        ObjectKind::Hold
        | ObjectKind::Views
        | ObjectKind::Table
        | ObjectKind::ExportFailure
        | ObjectKind::Refresh
        | ObjectKind::Returning => None,
    }
}

async fn abort_uploads(env: &Environment, dataset: &Dataset, record: &Retired) -> Result<()> {
    for upload in env.objects.uploads(dataset.paths.location()).await? {
        if upload.initiated < record.at && dataset.paths.parse(&upload.key).is_some() {
            env.objects.abort_upload(&upload).await?;
        }
    }
    Ok(())
}

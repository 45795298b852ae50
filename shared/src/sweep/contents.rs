//! Loads a table, and the state of everything in its folder.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::{catalog::Reader, environment::Environment, publish};
use turntable_core::{
    config::{Dataset, Retain},
    decision::Live,
    error::Result,
    layout::{Generation, Location, ObjectKind, TableName},
    manifest::Manifest,
    port::Unfinished,
    record::{Pending, Sweeping},
    sweep::{Found, PendingRun, SweepState, since},
    table::TableVersion,
};

pub struct TableContents {
    /// The table, with a `VersionId` that was read before everything else here. `None` if the table doesn't exist.
    pub table: Option<TableVersion>,
    pub state: SweepState,
    /// The complete generations, in no particular order.
    pub complete: Vec<Complete>,
    /// The live generation's manifest. `None` if live is unmanaged.
    pub live_manifest: Option<Manifest>,
    /// Unfinished uploads of data files.
    pub uploads: Vec<Unfinished>,
    /// The generations with a record of the audit that rejected them, whether or not they still exist.
    pub verdicts: Vec<Generation>,
    /// The number of unmanaged objects under the table's folder, and their total size in bytes.
    pub unknown: (u64, u64),
}

/// A complete generation, as described in its manifest.
pub struct Complete {
    pub generation: Generation,
    pub created_at: Timestamp,
    pub as_of: Timestamp,
    pub rows: u64,
    pub bytes: u64,
}

/// The maximum number of objects of one kind (manifests, marks or pending records) that are read at the same time.
const MAX_CONCURRENT_READS: usize = 16;

/// Loads the table first and then everything else, as the proof in [`crate::sweep`] requires. Fails if anything can't
/// be read, so that nothing in the table's folder is deleted.
///
/// `tables` are the tables in all configured databases. A generation that one of them reads is never deleted.
pub async fn load(env: &Environment, dataset: &Dataset, tables: &[Reader]) -> Result<TableContents> {
    let paths = &dataset.paths;
    let table = env.catalog.table(&dataset.table).await?;
    let location = match &table {
        None => None,
        Some(table) => Some(publish::flippable_location(env, table).await?),
    };
    let live = Live::of(paths, location.as_ref());
    publish::identity::check(env, dataset, &live).await?;

    let earlier = publish::identity::read_by_earlier_names(env, paths, dataset.retain.drain).await?;
    let mut generations: BTreeMap<Generation, Found> = BTreeMap::new();
    let (mut manifests, mut marks, mut unknown) = (Vec::new(), Vec::new(), (0, 0));
    let (mut records, mut revert_intents) = (Vec::new(), Vec::new());
    let (mut runs, mut failed, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for entry in env.objects.list(paths.location(), None).await? {
        match paths.parse(&entry.key) {
            Some(ObjectKind::Data(generation)) => {
                let found = generations.entry(generation).or_default();
                found.objects.push(entry.key);
                found.bytes += entry.size;
            }
            Some(ObjectKind::Manifest(generation)) => manifests.push(generation),
            Some(ObjectKind::Sweeping(generation)) => marks.push(generation),
            Some(ObjectKind::Flip(flip)) => records.push(flip),
            Some(ObjectKind::RevertIntent(flip)) => revert_intents.push(flip),
            Some(ObjectKind::Pending(generation)) => runs.push(generation),
            Some(ObjectKind::Failed(generation)) => failed.push(generation),
            Some(ObjectKind::Verdict(generation)) => verdicts.push(generation),
            Some(
                ObjectKind::Hold
                | ObjectKind::Views
                | ObjectKind::Table
                | ObjectKind::ExportFailure
                | ObjectKind::Refresh
                | ObjectKind::Returning,
            ) => {}
            None => unknown = (unknown.0 + 1, unknown.1 + entry.size),
        }
    }
    let ((complete, live_manifest), marks, runs, uploads, named) = futures::try_join!(
        complete(env, dataset, manifests, live.generation()),
        marks_made(env, dataset, marks),
        ends_of_runs(env, dataset, runs),
        env.objects.uploads(paths.location()),
        publish::group::named(env, dataset),
    )?;
    for one in &complete {
        generations.entry(one.generation).or_default().manifest = Some(one.created_at);
    }
    for (generation, at) in marks {
        generations.entry(generation).or_default().sweeping = Some(at);
    }
    for (generation, until) in runs {
        let failed = failed.contains(&generation);
        generations.entry(generation).or_default().run = Some(PendingRun { until, failed });
    }

    let flips = publish::flips(env, dataset, since(&live, generations.keys())).await?;
    let uploads =
        uploads.into_iter().filter(|upload| matches!(paths.parse(&upload.key), Some(ObjectKind::Data(_)))).collect();
    let reads = table.as_ref().and_then(TableVersion::template_folder).into_iter().chain(location);
    let (reads, readers) = (reads.chain(earlier).collect(), read_by_others(dataset, tables));
    let state = SweepState { live, reads, readers, flips, records, revert_intents, generations, named };
    Ok(TableContents { table, state, complete, live_manifest, uploads, verdicts, unknown })
}

/// Returns the tables other than the dataset's own that read its folder or a part of it, with the locations that they
/// read.
fn read_by_others(dataset: &Dataset, tables: &[Reader]) -> Vec<(TableName, Location)> {
    let others = tables.iter().filter(|table| table.name != dataset.table);
    let reads = others.flat_map(|table| table.locations.iter().map(|location| (table.name.clone(), location.clone())));
    reads.filter(|(_, location)| location.overlaps(dataset.paths.location())).collect()
}

type Times = Vec<(Generation, Timestamp)>;

/// Reads the manifests of the generations `of`. Returns the facts from each manifest, and live's whole manifest.
async fn complete(
    env: &Environment,
    dataset: &Dataset,
    of: Vec<Generation>,
    live: Option<Generation>,
) -> Result<(Vec<Complete>, Option<Manifest>)> {
    let mut read = stream::iter(of)
        .map(|generation| async move { publish::manifest(env, dataset, &generation).await })
        .buffered(MAX_CONCURRENT_READS);
    let (mut complete, mut of_live) = (Vec::new(), None);
    while let Some(read) = read.try_next().await? {
        let Some(manifest) = read else { continue };
        let Manifest { generation, created_at, as_of, rows, bytes, .. } = manifest;
        complete.push(Complete { generation, created_at, as_of, rows, bytes });
        if live == Some(generation) {
            of_live = Some(manifest);
        }
    }
    Ok((complete, of_live))
}

/// Returns when each `_sweeping` mark was written.
async fn marks_made(env: &Environment, dataset: &Dataset, of: Vec<Generation>) -> Result<Times> {
    let made = stream::iter(of).map(|generation| async move {
        let mark: Option<Sweeping> = env.record(&dataset.paths.sweeping(&generation)).await?;
        Ok(mark.map(|mark| (generation, mark.at)))
    });
    made.buffered(MAX_CONCURRENT_READS).try_filter_map(async |made| Ok(made)).try_collect().await
}

/// Returns the time by which each engine run will have ended, from its pending record.
async fn ends_of_runs(env: &Environment, dataset: &Dataset, of: Vec<Generation>) -> Result<Times> {
    let read = stream::iter(of).map(|generation| async move {
        let pending: Option<Pending> = env.record(&dataset.paths.pending(&generation)).await?;
        Ok(pending.map(|pending| (generation, pending.until)))
    });
    read.buffered(MAX_CONCURRENT_READS).try_filter_map(async |read| Ok(read)).try_collect().await
}

/// Returns the uploads that were started at least `retain.abandoned` ago. No run lasts that long, so their runs have
/// died.
pub fn abandoned_uploads(uploads: &[Unfinished], retain: &Retain, now: Timestamp) -> Vec<Unfinished> {
    let old = |upload: &&Unfinished| now.duration_since(upload.initiated) >= retain.abandoned;
    uploads.iter().filter(old).cloned().collect()
}

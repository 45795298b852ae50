//! Builds the data files of the next generation. Unchanged files are copied within S3, and the others are rewritten.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::file;
use turntable_core::consent::{
    bucket,
    key::Key,
    record_columns::{Changed, RecordColumns},
};
use turntable_core::{
    error::{Error, Result},
    layout::{Location, part, part_number},
    manifest::{File, Manifest},
    port::Objects,
};
use turntable_sources::inbox::spill_buffer::{Part, SpillBuffer};

/// A build's inputs and its destination.
#[derive(Clone)]
pub struct Build {
    pub objects: Arc<dyn Objects>,
    pub key: Key,
    /// The manifest of the live merge. `None` if live isn't a merge, or if there is no table.
    pub base: Option<Manifest>,
    pub buckets: u32,
    pub to: Location,
}

pub struct Built {
    pub files: Vec<File>,
    /// The keys that are new or whose consent record changed, and the people who had opted out and are opted in now.
    pub changed: Changed,
}

/// The maximum number of buckets that are rewritten at the same time, and of files that are copied at the same time.
const MAX_CONCURRENT_BUCKETS: usize = 64;
/// The maximum total number of rows in the buckets that are being rewritten at any one time, which bounds memory use.
/// Buckets whose files are copied don't count.
const MAX_CONCURRENT_ROWS: u64 = 640_000;

/// A part of the table that is built independently. Usually it is one bucket. When the number of buckets changes, it is
/// a set of old and new buckets that share keys.
struct Unit {
    old: Vec<File>,
    new: Vec<u32>,
    changes: Part,
}

impl Build {
    pub async fn run(self, changes: SpillBuffer) -> Result<Built> {
        let old_buckets = self.base.as_ref().and_then(|base| base.merge.as_ref()).map(|merge| merge.buckets);
        let same = old_buckets == Some(self.buckets);
        let units = old_buckets.unwrap_or(self.buckets).min(self.buckets);
        let (unchanged, changed): (Vec<Unit>, Vec<Unit>) =
            self.units(units, changes)?.into_iter().partition(|unit| same && unit.changes.at_most() == 0);
        let this = Arc::new(self);
        let copies = stream::iter(unchanged.into_iter().flat_map(|unit| unit.old))
            .map(|file| this.copy_file(file))
            .buffered(MAX_CONCURRENT_BUCKETS)
            .try_collect::<Vec<File>>();
        let room = Semaphore::new(MAX_CONCURRENT_ROWS as usize);
        let rewrite = async |unit: Unit| {
            let rows = unit.old.iter().map(|file| file.rows).sum::<u64>() + unit.changes.at_most() as u64;
            let _room = room.acquire_many(rows.clamp(1, MAX_CONCURRENT_ROWS) as u32).await;
            this.clone().rewrite(unit, same).await
        };
        let rewrites = stream::iter(changed)
            .map(rewrite)
            .buffered(MAX_CONCURRENT_BUCKETS)
            .try_collect::<Vec<(Vec<File>, Changed)>>();
        let (copied, rewritten) = futures::try_join!(copies, rewrites)?;
        let changed = rewritten.iter().fold(Changed::default(), |sum, (_, one)| Changed {
            keys: sum.keys + one.keys,
            returning: sum.returning + one.returning,
        });
        let mut files: Vec<File> = rewritten.into_iter().flat_map(|(files, _)| files).chain(copied).collect();
        files.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Built { files, changed })
    }

    /// Counts the people who are opted out and would be back after these changes. Writes nothing.
    pub async fn returning(&self, changes: SpillBuffer) -> Result<u64> {
        let Some(merge) = self.base.as_ref().and_then(|base| base.merge.as_ref()) else { return Ok(0) };
        let mut returning = 0;
        for unit in self.units(merge.buckets.min(self.buckets), changes)? {
            if unit.changes.at_most() == 0 {
                continue;
            }
            let (table, changes) = (self.table(&unit.old).await?, unit.changes);
            let merge = move || Ok::<_, Error>(table.sorted().merged(&changes.load()?.sorted()).1.returning);
            returning +=
                spawn_blocking(merge).await.map_err(|fault| self.bug("counting panicked").caused_by(fault))??;
        }
        Ok(returning)
    }

    fn units(&self, units: u32, changes: SpillBuffer) -> Result<Vec<Unit>> {
        let mut old: BTreeMap<u32, Vec<File>> = BTreeMap::new();
        for file in self.base.iter().flat_map(|base| &base.files) {
            let number = part_number(&file.key).and_then(|number| u32::try_from(number).ok()).ok_or_else(|| {
                Error::corrupt(format!(
                    "{}: the live manifest names {:?}, which is not an opt-out bucket: invoke optout with the action \
                     reconcile",
                    self.to, file.key
                ))
            })?;
            old.entry(number % units).or_default().push(file.clone());
        }
        let unit = |(number, changes): (usize, Part)| {
            let number = number as u32;
            let new = (number..self.buckets).step_by(units as usize).collect();
            Unit { old: old.remove(&number).unwrap_or_default(), new, changes }
        };
        Ok(changes.partition_by_bucket(units).into_iter().enumerate().map(unit).collect())
    }

    /// Copies one file unchanged from the live generation into this one.
    async fn copy_file(&self, file: File) -> Result<File> {
        let base = self.base.as_ref().ok_or_else(|| self.bug("a bucket has no base manifest"))?;
        let etag = self.objects.copy(&base.location.key(&file.key), &file.etag, &self.to.key(&file.key)).await?;
        Ok(File { etag, ..file })
    }

    async fn rewrite(self: Arc<Self>, unit: Unit, same: bool) -> Result<(Vec<File>, Changed)> {
        let table = self.table(&unit.old).await?;
        let (this, Unit { old, new, changes }) = (self.clone(), unit);
        let encode = move || -> Result<_> {
            let (table, changed) = table.sorted().merged(&changes.load()?.sorted());
            if same && changed.keys == 0 && !old.is_empty() {
                return Ok((Vec::new(), old, changed));
            }
            let mut runs = if new.len() == 1 { vec![table] } else { this.split_into(&new, &table) };
            let encode =
                |(bucket, run): (u32, RecordColumns)| Ok((bucket, run.len() as u64, file::write(&this.key, &run)?));
            // Bucket 0 always has a file, so that a table without rows still has its columns.
            let runs = new.iter().copied().zip(runs.drain(..)).filter(|(bucket, run)| *bucket == 0 || !run.is_empty());
            Ok((runs.map(encode).collect::<Result<Vec<_>>>()?, Vec::new(), changed))
        };
        let (encoded, kept, changed) =
            spawn_blocking(encode).await.map_err(|fault| self.bug("merging a bucket panicked").caused_by(fault))??;
        let mut files = Vec::new();
        for file in kept {
            files.push(self.copy_file(file).await?);
        }
        for (bucket, rows, bytes) in encoded {
            let key = part(bucket as usize);
            let size = bytes.len() as u64;
            let mut upload = self.objects.upload(&self.to.key(&key)).await?;
            upload.write(bytes).await?;
            files.push(File { key, bytes: size, rows, etag: upload.finish().await? });
        }
        Ok((files, changed))
    }

    /// Reads the rows of these files.
    async fn table(&self, files: &[File]) -> Result<RecordColumns> {
        let mut table = RecordColumns::new(self.key.width());
        for file in files {
            let run = self.read(file).await?;
            match table.is_empty() {
                true => table = run,
                false => table.extend(&run),
            }
        }
        Ok(table)
    }

    /// Returns the error for a problem that only a bug can cause.
    fn bug(&self, what: &str) -> Error {
        Error::corrupt(format!("{}: {what}: this is a bug, please report it", self.to))
    }

    /// Splits the records by bucket. Returns the records of each bucket in `new`, in that order.
    fn split_into(&self, new: &[u32], table: &RecordColumns) -> Vec<RecordColumns> {
        let mut all = table.partition_by_bucket(self.buckets);
        new.iter().map(|bucket| std::mem::take(&mut all[*bucket as usize])).collect()
    }

    async fn read(&self, file: &File) -> Result<RecordColumns> {
        let base = self.base.as_ref().ok_or_else(|| self.bug("a bucket has no base manifest"))?;
        let at = base.location.key(&file.key);
        let bytes = self.objects.range(&at, &file.etag, 0..file.bytes).await?;
        let key = self.key.clone();
        spawn_blocking(move || file::read(&at, &key, bytes))
            .await
            .map_err(|fault| self.bug("reading a bucket panicked").caused_by(fault))?
    }
}

/// Returns the number of buckets in the next generation: `set` if it is configured, and otherwise a number that suits
/// the table's rows or `changes`, whichever is larger. Unless configured, the number never shrinks.
pub fn buckets(base: Option<&Manifest>, set: Option<u32>, changes: u64) -> u32 {
    let now = base.and_then(|base| base.merge.as_ref()).map(|merge| merge.buckets);
    bucket::next(now, set, base.map_or(0, |base| base.rows).max(changes))
}

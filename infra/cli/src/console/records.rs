//! Reads the records in a table's folder: manifests, verdicts and flips. Most never change, so each is read once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde::{Deserialize, Serialize};
use turntable::{
    config::Dataset,
    layout::{Generation, Key},
    manifest::Manifest,
    partition::Partition,
    port::Objects,
    record::{Flip, Verdict},
    schema::Column,
};

/// How many objects are read at the same time.
const MAX_CONCURRENT_READS: usize = 8;

/// How many flips of a table are shown.
const MAX_FLIPS: usize = 60;

/// Reads records from a bucket.
pub struct Records {
    objects: Arc<dyn Objects>,
    /// The objects that were read and that never change.
    known: Mutex<BTreeMap<Key, String>>,
}

/// What a generation's records say. It has no value of any row: a manifest's files are left out, because their folders
/// name the values of partition columns.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recorded {
    pub generation: String,
    pub columns: Vec<Column>,
    pub partitions: Vec<Column>,
    pub files: usize,
    /// How many values of each column became NULL, by the reason for it.
    pub nulled: BTreeMap<String, u64>,
    pub missing: BTreeMap<String, u64>,
    pub ignored: BTreeMap<String, u64>,
    /// The inputs' generations from which this generation was built, by dataset.
    pub inputs: BTreeMap<String, Generation>,
    /// When and why the audit rejected the generation. `None` if it didn't.
    pub verdict: Option<Verdict>,
}

impl Records {
    pub fn new(objects: Arc<dyn Objects>) -> Records {
        Records { objects, known: Mutex::default() }
    }

    /// Returns an object's text. `None` if it does not exist.
    pub async fn text(&self, at: &Key) -> Result<Option<String>> {
        let found = self.objects.get(at).await?;
        Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Returns the text of an object that never changes.
    async fn immutable(&self, at: &Key) -> Result<Option<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(at).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let text = self.text(at).await?;
        if let Some(text) = &text {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(at.clone(), text.clone());
        }
        Ok(text)
    }

    /// Returns what the records of these generations say, in the same order. A generation that was swept meanwhile is
    /// left out.
    pub async fn generations(&self, dataset: &Dataset, names: &[String]) -> Result<Vec<Recorded>> {
        // Boxed, because otherwise the compiler can't prove that the stream's future is `Send`.
        let mut each: Vec<BoxFuture<'_, Result<Option<Recorded>>>> = Vec::new();
        for name in names {
            each.push(self.generation(dataset, name).boxed());
        }
        let found: Vec<Option<Recorded>> = stream::iter(each).buffered(MAX_CONCURRENT_READS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn generation(&self, dataset: &Dataset, name: &str) -> Result<Option<Recorded>> {
        let generation: Generation = name.parse()?;
        let key = dataset.paths.manifest(&generation);
        let Some(json) = self.immutable(&key).await? else { return Ok(None) };
        let manifest = Manifest::from_json(&key, &generation, json.as_bytes())?;
        let verdict = self.text(&dataset.paths.verdict(&generation)).await?;
        let column = |partition: Partition| partition.column;
        Ok(Some(Recorded {
            generation: name.to_owned(),
            columns: manifest.columns,
            partitions: manifest.partitions.into_iter().map(column).collect(),
            files: manifest.files.len(),
            nulled: manifest.nulled,
            missing: manifest.missing,
            ignored: manifest.ignored,
            inputs: manifest.inputs,
            verdict: verdict.as_deref().and_then(read),
        }))
    }

    /// Returns the latest flips of a table, oldest first.
    pub async fn flips(&self, dataset: &Dataset) -> Result<Vec<Flip>> {
        let listed = self.objects.list(&dataset.paths.flips(), None).await?;
        let mut each: Vec<BoxFuture<'_, Result<Option<String>>>> = Vec::new();
        for entry in listed.iter().skip(listed.len().saturating_sub(MAX_FLIPS)) {
            each.push(self.immutable(&entry.key).boxed());
        }
        let texts: Vec<Option<String>> = stream::iter(each).buffered(MAX_CONCURRENT_READS).try_collect().await?;
        Ok(texts.into_iter().flatten().filter_map(|text| read(&text)).collect())
    }
}

/// Reads a record. A record that a newer version has written in another way is left out.
fn read<T: for<'de> Deserialize<'de>>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

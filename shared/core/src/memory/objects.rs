//! In-memory S3, with the semantics that Turntable relies on.

#![expect(clippy::expect_used, reason = "tests call it, and may fail by a panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    bucket_settings::{BucketSettings, LifecycleRule},
    error::{Error, Result},
    layout::{Key, Location},
    port::{self, Chunks, Entry, Put, Unfinished},
};

/// An in-memory S3. Clones share their objects.
#[derive(Clone, Default)]
pub struct Objects(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    objects: BTreeMap<Key, Object>,
    uploads: BTreeSet<Unfinished>,
    /// Buckets and their settings. A missing bucket has the settings from template.yaml.
    settings: BTreeMap<String, BucketSettings>,
    /// Key prefixes, as `s3://BUCKET/KEY`. S3 lists the objects under them but refuses to serve them.
    refused: BTreeSet<String>,
    /// The number of objects written and multipart uploads started so far. It is also the clock: each takes place one
    /// second after the previous one.
    writes: i64,
}

#[derive(Clone)]
struct Object {
    body: Bytes,
    etag: String,
    modified: Timestamp,
}

impl Object {
    fn entry(&self, key: &Key) -> Entry {
        Entry { key: key.clone(), size: self.body.len() as u64, etag: self.etag.clone(), modified: self.modified }
    }
}

/// The name of the only bucket that doesn't exist.
pub const NO_BUCKET: &str = "no-such-bucket-here";

/// The name of the only bucket whose settings can't be read.
pub const PRIVATE_BUCKET: &str = "private-bucket";

/// Returns the bucket settings from template.yaml.
fn settings() -> BucketSettings {
    let rule =
        |id: &str, prefix: &str| LifecycleRule { id: id.into(), prefix: prefix.into(), ..LifecycleRule::default() };
    BucketSettings {
        event_bridge: true,
        lifecycle: vec![
            LifecycleRule { expires: true, ..rule("expire-answers-to-checks", "_athena/") },
            LifecycleRule { expires: true, ..rule("expire-archived-drops", "_archive/") },
            LifecycleRule { aborts_uploads: true, ..rule("abort-unfinished-uploads", "") },
        ],
        ..BucketSettings::default()
    }
}

/// Returns the chunk size, in bytes, for streaming an object of `size` bytes. It is small enough that even a small
/// object arrives in several chunks, and large enough that a large one doesn't arrive in too many.
fn chunk_size(size: usize) -> usize {
    (size / 16).clamp(100, 64 << 10)
}

impl Objects {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an independent copy.
    pub fn fork(&self) -> Objects {
        Objects(Arc::new(Mutex::new(self.state().clone())))
    }

    /// Writes or overwrites an object, as another writer would, and returns its ETag.
    pub fn put(&self, at: &str, body: impl Into<Bytes>) -> String {
        let key: Key = at.parse().expect("s3://BUCKET/KEY");
        self.state().write(&key, body.into())
    }

    /// Deletes an object, as another writer would.
    pub fn delete(&self, at: &str) {
        let key: Key = at.parse().expect("s3://BUCKET/KEY");
        self.state().objects.remove(&key);
    }

    /// Starts a multipart upload, as another writer would, and leaves it unfinished.
    pub fn begin_upload(&self, at: &str, initiated: Timestamp) {
        let key: Key = at.parse().expect("s3://BUCKET/KEY");
        self.state().uploads.insert(Unfinished { key, id: "1".into(), initiated });
    }

    /// Makes S3 list the objects whose keys start with `prefix`, but refuse to serve them, as it does with objects that are
    /// encrypted with somebody else's key or are in GLACIER.
    pub fn refuse(&self, prefix: &str) {
        self.state().refused.insert(prefix.to_owned());
    }

    /// Changes a bucket's settings.
    pub fn configure(&self, bucket: &str, change: impl FnOnce(&mut BucketSettings)) {
        change(self.state().settings.entry(bucket.to_owned()).or_insert_with(settings));
    }

    /// Returns the keys of all unfinished multipart uploads, as `s3://BUCKET/KEY`.
    pub fn unfinished(&self) -> Vec<String> {
        self.state().uploads.iter().map(|upload| upload.key.to_string()).collect()
    }

    /// Returns the keys of all objects, as `s3://BUCKET/KEY`, in order.
    pub fn keys(&self) -> Vec<String> {
        self.state().objects.keys().map(Key::to_string).collect()
    }

    /// Returns an object's content, or `None` if the object doesn't exist.
    pub fn body(&self, at: &str) -> Option<Bytes> {
        let key: Key = at.parse().expect("s3://BUCKET/KEY");
        self.state().objects.get(&key).map(|object| object.body.clone())
    }

    /// Returns an object's ETag, or `None` if the object doesn't exist.
    pub fn etag(&self, at: &Key) -> Option<String> {
        self.state().objects.get(at).map(|object| object.etag.clone())
    }

    fn there(&self, bucket: &str, at: &dyn Display) -> Result<()> {
        let missing = "no such bucket: create it, or correct the location in datasets.toml";
        if bucket == NO_BUCKET { Err(Error::config(format!("{at}: {missing}"))) } else { Ok(()) }
    }

    fn served(&self, at: &Key) -> Result<()> {
        let text = at.to_string();
        match self.state().refused.iter().any(|prefix| text.starts_with(prefix)) {
            true => {
                Err(Error::config(format!("{at}: S3 refused GetObject")).caused_by("InvalidObjectState (status 403)"))
            }
            false => Ok(()),
        }
    }

    fn pinned(&self, at: &Key, etag: &str) -> Result<Bytes> {
        self.served(at)?;
        let state = self.state();
        let object = state.objects.get(at).filter(|object| object.etag == etag).ok_or_else(|| port::missing(at))?;
        Ok(object.body.clone())
    }
}

impl State {
    /// Returns the objects under the location, in key order. Reads no others, because tests list often.
    fn under(&self, location: &Location) -> impl Iterator<Item = (&Key, &Object)> {
        let first = Key { bucket: location.bucket.clone(), key: location.prefix.clone() };
        let Key { bucket, key: prefix } = first.clone();
        self.objects.range(first..).take_while(move |(key, _)| key.bucket == bucket && key.key.starts_with(&prefix))
    }

    fn write(&mut self, at: &Key, body: Bytes) -> String {
        self.writes += 1;
        let etag: String = Sha256::digest(&body)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let modified = Timestamp::from_second(1_700_000_000 + self.writes).expect("a time in this century");
        self.objects.insert(at.clone(), Object { body, etag: etag.clone(), modified });
        etag
    }

    fn begin(&mut self, at: &Key) -> Unfinished {
        self.writes += 1;
        let initiated = Timestamp::from_second(1_700_000_000 + self.writes).expect("a time in this century");
        let upload = Unfinished { key: at.clone(), id: self.writes.to_string(), initiated };
        self.uploads.insert(upload.clone());
        upload
    }

    fn write_new(&mut self, at: &Key, body: Bytes) -> Option<String> {
        (!self.objects.contains_key(at)).then(|| self.write(at, body))
    }
}

#[async_trait]
impl port::Objects for Objects {
    async fn get(&self, at: &Key) -> Result<Option<Bytes>> {
        self.there(&at.bucket, at)?;
        self.served(at)?;
        Ok(self.state().objects.get(at).map(|object| object.body.clone()))
    }

    async fn get_with_etag(&self, at: &Key) -> Result<Option<(Bytes, String)>> {
        self.there(&at.bucket, at)?;
        self.served(at)?;
        Ok(self.state().objects.get(at).map(|object| (object.body.clone(), object.etag.clone())))
    }

    async fn range(&self, at: &Key, etag: &str, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let body = self.pinned(at, etag)?;
        if range.end > body.len() as u64 {
            return Err(Error::corrupt(format!(
                "{at} ends before byte {}, so it was replaced after it was listed: invoke the function again",
                range.end
            )));
        }
        Ok(body.slice(range.start as usize..range.end as usize))
    }

    async fn stream(&self, at: &Key, etag: &str) -> Result<Chunks> {
        let body = self.pinned(at, etag)?;
        let (size, step) = (body.len(), chunk_size(body.len()));
        let chunk = move |from: usize| Ok(body.slice(from..(from + step).min(size)));
        Ok(stream::iter((0..size).step_by(step).map(chunk)).boxed())
    }

    async fn head(&self, at: &Key) -> Result<Option<Entry>> {
        Ok(self.state().objects.get(at).map(|object| object.entry(at)))
    }

    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>> {
        self.there(&under.bucket, under)?;
        let state = self.state();
        let later = |key: &Key| after.is_none_or(|after| key.key > after.key);
        let found = state.under(under).filter(|(key, _)| later(key));
        Ok(found.map(|(key, object)| object.entry(key)).collect())
    }

    async fn folders(&self, under: &Location) -> Result<Vec<Location>> {
        self.there(&under.bucket, under)?;
        let state = self.state();
        let folder = |key: &Key| {
            let (name, _) = key.key.strip_prefix(&under.prefix)?.split_once('/')?;
            Some(under.folder(name))
        };
        let folders: BTreeSet<Location> = state.under(under).filter_map(|(key, _)| folder(key)).collect();
        Ok(folders.into_iter().collect())
    }

    async fn bucket_settings(&self, bucket: &str) -> Result<BucketSettings> {
        if bucket == PRIVATE_BUCKET {
            return Err(Error::config(format!("s3://{bucket}: GetBucketVersioning is denied")));
        }
        Ok(self.state().settings.get(bucket).cloned().unwrap_or_else(settings))
    }

    async fn put_new(&self, at: &Key, body: Bytes) -> Result<Put> {
        self.there(&at.bucket, at)?;
        Ok(if self.state().write_new(at, body).is_some() { Put::Created } else { Put::Exists })
    }

    async fn put(&self, at: &Key, body: Bytes) -> Result<()> {
        self.state().write(at, body);
        Ok(())
    }

    async fn replace(&self, at: &Key, etag: &str, body: Bytes) -> Result<bool> {
        let mut state = self.state();
        let now = state.objects.get(at).ok_or_else(|| port::missing(at))?.etag.clone();
        if now == etag {
            state.write(at, body);
        }
        Ok(now == etag)
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key) -> Result<String> {
        let body = self.pinned(from, etag)?;
        let mut state = self.state();
        let taken = state.objects.get(to).map(|object| object.etag.clone());
        Ok(taken.unwrap_or_else(|| state.write(to, body)))
    }

    async fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut state = self.state();
        keys.iter().for_each(|key| drop(state.objects.remove(key)));
        Ok(())
    }

    async fn delete_if(&self, at: &Key, etag: &str) -> Result<bool> {
        let mut state = self.state();
        let is_same = state.objects.get(at).is_some_and(|object| object.etag == etag);
        if is_same {
            state.objects.remove(at);
        }
        Ok(is_same)
    }

    async fn uploads(&self, under: &Location) -> Result<Vec<Unfinished>> {
        let here =
            |upload: &&Unfinished| upload.key.bucket == under.bucket && upload.key.key.starts_with(&under.prefix);
        Ok(self.state().uploads.iter().filter(here).cloned().collect())
    }

    async fn abort_upload(&self, upload: &Unfinished) -> Result<()> {
        self.state().uploads.remove(upload);
        Ok(())
    }

    async fn upload(&self, at: &Key) -> Result<Box<dyn port::Upload>> {
        Ok(Box::new(Upload { to: self.clone(), at: at.clone(), body: Vec::new(), begun: None }))
    }
}

/// Objects of at least this many bytes are uploaded in parts. S3 lists an unfinished upload from its first part on.
const PART: usize = 8 << 20;

struct Upload {
    to: Objects,
    at: Key,
    body: Vec<u8>,
    begun: Option<Unfinished>,
}

#[async_trait]
impl port::Upload for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.body.extend_from_slice(&bytes);
        if self.body.len() >= PART && self.begun.is_none() {
            self.begun = Some(self.to.state().begin(&self.at));
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        let mut state = self.to.state();
        if self.begun.as_ref().is_some_and(|begun| !state.uploads.contains(begun)) {
            return Err(port::missing(&self.at));
        }
        let etag = state.write_new(&self.at, std::mem::take(&mut self.body).into());
        etag.ok_or_else(|| {
            Error::conflict(format!(
                "{}: another run has already written this object, so it was not overwritten: invoke the function again",
                self.at
            ))
        })
    }

    async fn abort(self: Box<Self>) {}
}

/// Removes the upload from the unfinished ones, no matter whether it was finished, aborted or only dropped.
impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(begun) = &self.begun {
            self.to.state().uploads.remove(begun);
        }
    }
}

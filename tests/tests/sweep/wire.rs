//! The ports, with a clerk on the wire: what a call meets is decided by its number.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use aws_sdk_glue::types::{Table, TableInput};
use bytes::Bytes;
use turntable::{
    error::{Error, Result},
    name::{Key, Location, TableName},
    port::{Catalog, Chunks, Entry, Objects, Put, Unfinished, Update, Upload},
    world::World,
};

type Meanwhile = Box<dyn FnOnce() + Send>;

pub struct Wire {
    catalog: Arc<dyn Catalog>,
    objects: Arc<dyn Objects>,
    calls: AtomicUsize,
    /// This call and all later ones fail: the process has died.
    dies_at: usize,
    /// What others do just before a call.
    meanwhile: Mutex<Option<(usize, Meanwhile)>>,
    /// How many other tasks get their turn during a call: a seed; 0: none.
    turns: AtomicU64,
}

impl Wire {
    fn around(world: &World, dies_at: usize, meanwhile: Option<(usize, Meanwhile)>) -> (Arc<Wire>, World) {
        let (catalog, objects) = (world.catalog.clone(), world.objects.clone());
        let (calls, meanwhile, turns) = (AtomicUsize::new(0), Mutex::new(meanwhile), AtomicU64::new(0));
        let wire = Arc::new(Wire { catalog, objects, calls, dies_at, meanwhile, turns });
        (wire.clone(), World { catalog: wire.clone(), objects: wire, ..world.clone() })
    }

    /// A world whose process dies at a call.
    pub fn dying(world: &World, at: usize) -> (Arc<Wire>, World) {
        Wire::around(world, at, None)
    }

    /// A world in which others do something just before a call.
    pub fn meeting(world: &World, at: usize, meanwhile: impl AsyncFnOnce() + Send + 'static) -> (Arc<Wire>, World) {
        let on_a_runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(meanwhile());
        Wire::around(world, usize::MAX, Some((at, Box::new(on_a_runtime))))
    }

    #[allow(dead_code, reason = "one of the two tests that share this file uses it")]
    pub fn meeting_and_dying(
        world: &World,
        at: usize,
        dies_at: usize,
        meanwhile: impl AsyncFnOnce() + Send + 'static,
    ) -> (Arc<Wire>, World) {
        let on = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(meanwhile());
        Wire::around(world, dies_at, Some((at, Box::new(on))))
    }

    /// A world whose calls take their time, each its own, and whose process may die at one.
    #[allow(dead_code, reason = "one of the two tests that share this file uses it")]
    pub fn turning(world: &World, seed: u64, dies_at: Option<usize>) -> World {
        let (wire, world) = Wire::around(world, dies_at.unwrap_or(usize::MAX), None);
        wire.turns.store(seed | 1, Ordering::Relaxed);
        world
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    async fn take_turns(&self) {
        let next = |seed: u64| (seed > 0).then(|| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(2) | 1);
        let seed = self.turns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        for _ in 0..(seed >> 40) % 8 {
            tokio::task::yield_now().await;
        }
    }

    async fn call(&self) -> Result<()> {
        self.take_turns().await;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let due = self.meanwhile.lock().unwrap().take_if(|(at, _)| *at == call);
        if let Some((_, meanwhile)) = due {
            std::thread::spawn(meanwhile).join().unwrap();
        }
        if call >= self.dies_at { Err(Error::unavailable(format!("died at call {call}"))) } else { Ok(()) }
    }
}

#[async_trait]
impl Catalog for Wire {
    async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        self.call().await?;
        self.catalog.table(name).await
    }
    async fn update(&self, database: &str, input: TableInput, version: &str) -> Result<Update> {
        self.call().await?;
        self.catalog.update(database, input, version).await
    }
    async fn create(&self, database: &str, input: TableInput) -> Result<Update> {
        self.call().await?;
        self.catalog.create(database, input).await
    }
    async fn delete(&self, name: &TableName) -> Result<()> {
        self.call().await?;
        self.catalog.delete(name).await
    }
    async fn tables(&self, database: &str, prefix: &str) -> Result<Vec<Table>> {
        self.call().await?;
        self.catalog.tables(database, prefix).await
    }
    async fn has_partitions(&self, name: &TableName) -> Result<bool> {
        self.call().await?;
        self.catalog.has_partitions(name).await
    }
}

#[async_trait]
impl Objects for Wire {
    async fn get(&self, at: &Key) -> Result<Option<Bytes>> {
        self.call().await?;
        self.objects.get(at).await
    }
    async fn range(&self, at: &Key, etag: &str, range: Range<u64>) -> Result<Bytes> {
        self.call().await?;
        self.objects.range(at, etag, range).await
    }
    async fn stream(&self, at: &Key, etag: &str) -> Result<Chunks> {
        self.call().await?;
        self.objects.stream(at, etag).await
    }
    async fn head(&self, at: &Key) -> Result<Option<Entry>> {
        self.call().await?;
        self.objects.head(at).await
    }
    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>> {
        self.call().await?;
        self.objects.list(under, after).await
    }
    async fn put_new(&self, at: &Key, body: Bytes) -> Result<Put> {
        self.call().await?;
        self.objects.put_new(at, body).await
    }
    async fn put(&self, at: &Key, body: Bytes) -> Result<()> {
        self.call().await?;
        self.objects.put(at, body).await
    }
    async fn replace(&self, at: &Key, etag: &str, body: Bytes) -> Result<bool> {
        self.call().await?;
        self.objects.replace(at, etag, body).await
    }
    async fn copy(&self, from: &Key, etag: &str, to: &Key) -> Result<String> {
        self.call().await?;
        self.objects.copy(from, etag, to).await
    }
    /// The process may die, and S3 may break off, in the middle of a batch.
    async fn delete(&self, keys: &[Key]) -> Result<()> {
        let alive = self.call().await;
        let reached = if alive.is_ok() { keys.len() } else { keys.len() / 2 };
        self.objects.delete(if self.calls() - 1 > self.dies_at { &[] } else { &keys[..reached] }).await?;
        alive
    }
    async fn delete_if(&self, at: &Key, etag: &str) -> Result<bool> {
        self.call().await?;
        self.objects.delete_if(at, etag).await
    }
    async fn uploads(&self, under: &Location) -> Result<Vec<Unfinished>> {
        self.call().await?;
        self.objects.uploads(under).await
    }
    async fn abort_upload(&self, upload: &Unfinished) -> Result<()> {
        self.call().await?;
        self.objects.abort_upload(upload).await
    }
    async fn upload(&self, at: &Key) -> Result<Box<dyn Upload>> {
        self.call().await?;
        self.objects.upload(at).await
    }
}

//! S3 in memory that a test disturbs: some writes fail, and before some listings something else happens.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use turntable::{
    error::{Error, Result},
    name::{Key, Location},
    port::{Chunks, Entry, Objects, Put, Unfinished, Upload},
};

use crate::memory;

type Act = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

pub struct Disturbed {
    inner: memory::Objects,
    refuse: Option<String>,
    before_list: Option<(String, Act)>,
}

impl Disturbed {
    pub fn new(inner: &memory::Objects) -> Self {
        Disturbed { inner: inner.clone(), refuse: None, before_list: None }
    }

    /// Every new object whose key contains this is refused.
    pub fn refuse(mut self, part: &str) -> Self {
        self.refuse = Some(part.into());
        self
    }

    /// Before a listing of a location that contains this, something else is done.
    pub fn before_list(mut self, part: &str, act: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        self.before_list = Some((part.into(), Box::new(act)));
        self
    }
}

#[async_trait]
impl Objects for Disturbed {
    async fn get(&self, at: &Key) -> Result<Option<Bytes>> {
        self.inner.get(at).await
    }

    async fn range(&self, at: &Key, etag: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.range(at, etag, range).await
    }

    async fn stream(&self, at: &Key, etag: &str) -> Result<Chunks> {
        self.inner.stream(at, etag).await
    }

    async fn head(&self, at: &Key) -> Result<Option<Entry>> {
        self.inner.head(at).await
    }

    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>> {
        if let Some((_, act)) = self.before_list.as_ref().filter(|(part, _)| under.prefix.contains(part)) {
            act().await;
        }
        self.inner.list(under, after).await
    }

    async fn put_new(&self, at: &Key, body: Bytes) -> Result<Put> {
        if self.refuse.as_ref().is_some_and(|part| at.key.contains(part)) {
            return Err(Error::unavailable(format!("{at}: no answer")));
        }
        self.inner.put_new(at, body).await
    }

    async fn put(&self, at: &Key, body: Bytes) -> Result<()> {
        Objects::put(&self.inner, at, body).await
    }

    async fn replace(&self, at: &Key, etag: &str, body: Bytes) -> Result<bool> {
        self.inner.replace(at, etag, body).await
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key) -> Result<String> {
        self.inner.copy(from, etag, to).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<()> {
        Objects::delete(&self.inner, keys).await
    }

    async fn delete_if(&self, at: &Key, etag: &str) -> Result<bool> {
        self.inner.delete_if(at, etag).await
    }

    async fn uploads(&self, under: &Location) -> Result<Vec<Unfinished>> {
        self.inner.uploads(under).await
    }

    async fn abort_upload(&self, upload: &Unfinished) -> Result<()> {
        self.inner.abort_upload(upload).await
    }

    async fn upload(&self, at: &Key) -> Result<Box<dyn Upload>> {
        self.inner.upload(at).await
    }
}

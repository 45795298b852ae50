//! [`port::Objects`] in a folder, as far as a source and the writer ask for it.

use std::{fs, ops::Range, path::PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use turntable::{
    error::{Error, Result},
    name::{Key, Location},
    port::{self, Chunks, Entry, Put, Unfinished},
};

/// Bytes that a stream gives at a time.
const CHUNK: usize = 1 << 20;
const ETAG: &str = "disk";

/// The object `s3://B/K` is the file `FOLDER/B/K`.
pub struct Disk(pub PathBuf);

impl Disk {
    fn path(&self, at: &Key) -> PathBuf {
        self.0.join(&at.bucket).join(&at.key)
    }
}

fn io(at: &Key) -> impl FnOnce(std::io::Error) -> Error {
    let text = format!("{at}: the disk failed");
    move |error| Error::unavailable(text).caused_by(error)
}

fn unasked<T>() -> Result<T> {
    Err(Error::corrupt("a folder does not do that"))
}

#[async_trait]
impl port::Objects for Disk {
    async fn get(&self, at: &Key) -> Result<Option<Bytes>> {
        Ok(tokio::fs::read(self.path(at)).await.ok().map(Bytes::from))
    }

    async fn range(&self, at: &Key, _: &str, range: Range<u64>) -> Result<Bytes> {
        let mut file = tokio::fs::File::open(self.path(at)).await.map_err(io(at))?;
        file.seek(std::io::SeekFrom::Start(range.start)).await.map_err(io(at))?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact(&mut bytes).await.map_err(io(at))?;
        Ok(bytes.into())
    }

    async fn stream(&self, at: &Key, _: &str) -> Result<Chunks> {
        let mut file = tokio::fs::File::open(self.path(at)).await.map_err(io(at))?;
        file.set_max_buf_size(CHUNK);
        let chunks = stream::unfold((file, at.clone()), |(mut file, at)| async move {
            let mut bytes = Vec::with_capacity(CHUNK);
            match file.read_buf(&mut bytes).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(bytes.into()), (file, at))),
                Err(error) => Some((Err(io(&at)(error)), (file, at))),
            }
        });
        Ok(chunks.boxed())
    }

    async fn head(&self, at: &Key) -> Result<Option<Entry>> {
        let found = fs::metadata(self.path(at)).ok().filter(fs::Metadata::is_file);
        let entry = |found: fs::Metadata| Entry {
            key: at.clone(),
            size: found.len(),
            etag: ETAG.into(),
            modified: Timestamp::UNIX_EPOCH,
        };
        Ok(found.map(entry))
    }

    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>> {
        let folder = self.0.join(&under.bucket).join(&under.prefix);
        let mut names: Vec<String> = fs::read_dir(folder)
            .map(|files| files.flatten().filter_map(|file| file.file_name().into_string().ok()).collect())
            .unwrap_or_default();
        names.sort();
        let mut entries = Vec::new();
        for key in names.iter().map(|name| under.key(name)).filter(|key| after.is_none_or(|after| key > after)) {
            entries.extend(self.head(&key).await?);
        }
        Ok(entries)
    }

    async fn upload(&self, at: &Key) -> Result<Box<dyn port::Upload>> {
        let path = self.path(at);
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(io(at))?;
        }
        let mut file = tokio::fs::File::create_new(path).await.map_err(io(at))?;
        file.set_max_buf_size(CHUNK);
        Ok(Box::new(Upload { at: at.clone(), file }))
    }

    async fn put_new(&self, _: &Key, _: Bytes) -> Result<Put> {
        unasked()
    }

    async fn put(&self, _: &Key, _: Bytes) -> Result<()> {
        unasked()
    }

    async fn replace(&self, _: &Key, _: &str, _: Bytes) -> Result<bool> {
        unasked()
    }

    async fn copy(&self, from: &Key, _: &str, to: &Key) -> Result<String> {
        let path = self.path(to);
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(io(to))?;
        }
        tokio::fs::copy(self.path(from), path).await.map_err(io(to))?;
        Ok(ETAG.into())
    }

    async fn delete(&self, _: &[Key]) -> Result<()> {
        unasked()
    }

    async fn delete_if(&self, _: &Key, _: &str) -> Result<bool> {
        unasked()
    }

    async fn uploads(&self, _: &Location) -> Result<Vec<Unfinished>> {
        unasked()
    }

    async fn abort_upload(&self, _: &Unfinished) -> Result<()> {
        unasked()
    }
}

struct Upload {
    at: Key,
    file: tokio::fs::File,
}

#[async_trait]
impl port::Upload for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.file.write_all(&bytes).await.map_err(io(&self.at))
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        self.file.flush().await.map_err(io(&self.at))?;
        Ok(ETAG.into())
    }

    async fn abort(self: Box<Self>) {}
}

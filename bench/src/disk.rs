//! Implements [`port::Objects`] on a folder, but only the operations that the sources and the writer use.

use std::{fs, ops::Range, path::PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use turntable::{
    bucket_settings::BucketSettings,
    error::{Error, Result},
    layout::{Key, Location},
    port::{self, Chunks, Entry, Put, Unfinished},
};

/// The maximum size of a chunk that is read, and of the buffer for writing a file.
const CHUNK_BYTES: usize = 1 << 20;
/// The ETag of every object, because files have none.
const ETAG: &str = "disk";

/// Stores the object `s3://B/K` as the file `FOLDER/B/K`.
pub struct Disk(pub PathBuf);

impl Disk {
    fn path(&self, at: &Key) -> PathBuf {
        self.0.join(&at.bucket).join(&at.key)
    }
}

fn io_error(at: &Key) -> impl FnOnce(std::io::Error) -> Error {
    let text = format!("{at}: disk I/O failed");
    move |error| Error::unavailable(text).caused_by(error)
}

fn unsupported<T>() -> Result<T> {
    Err(Error::corrupt("the disk store does not support this operation"))
}

#[async_trait]
impl port::Objects for Disk {
    async fn get(&self, at: &Key) -> Result<Option<Bytes>> {
        Ok(tokio::fs::read(self.path(at)).await.ok().map(Bytes::from))
    }

    async fn get_with_etag(&self, at: &Key) -> Result<Option<(Bytes, String)>> {
        Ok(self.get(at).await?.map(|bytes| (bytes, ETAG.into())))
    }

    async fn range(&self, at: &Key, _: &str, range: Range<u64>) -> Result<Bytes> {
        let mut file = tokio::fs::File::open(self.path(at)).await.map_err(io_error(at))?;
        file.seek(std::io::SeekFrom::Start(range.start)).await.map_err(io_error(at))?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact(&mut bytes).await.map_err(io_error(at))?;
        Ok(bytes.into())
    }

    async fn stream(&self, at: &Key, _: &str) -> Result<Chunks> {
        let mut file = tokio::fs::File::open(self.path(at)).await.map_err(io_error(at))?;
        file.set_max_buf_size(CHUNK_BYTES);
        let chunks = stream::unfold((file, at.clone()), |(mut file, at)| async move {
            let mut bytes = Vec::with_capacity(CHUNK_BYTES);
            match file.read_buf(&mut bytes).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(bytes.into()), (file, at))),
                Err(error) => Some((Err(io_error(&at)(error)), (file, at))),
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
            tokio::fs::create_dir_all(folder).await.map_err(io_error(at))?;
        }
        let mut file = tokio::fs::File::create_new(path).await.map_err(io_error(at))?;
        file.set_max_buf_size(CHUNK_BYTES);
        Ok(Box::new(Upload { at: at.clone(), file }))
    }

    async fn folders(&self, _: &Location) -> Result<Vec<Location>> {
        unsupported()
    }

    async fn bucket_settings(&self, _: &str) -> Result<BucketSettings> {
        unsupported()
    }

    async fn put_new(&self, _: &Key, _: Bytes) -> Result<Put> {
        unsupported()
    }

    async fn put(&self, _: &Key, _: Bytes) -> Result<()> {
        unsupported()
    }

    async fn replace(&self, _: &Key, _: &str, _: Bytes) -> Result<bool> {
        unsupported()
    }

    async fn copy(&self, from: &Key, _: &str, to: &Key) -> Result<String> {
        let path = self.path(to);
        if let Some(folder) = path.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(io_error(to))?;
        }
        tokio::fs::copy(self.path(from), path).await.map_err(io_error(to))?;
        Ok(ETAG.into())
    }

    async fn delete(&self, _: &[Key]) -> Result<()> {
        unsupported()
    }

    async fn delete_if(&self, _: &Key, _: &str) -> Result<bool> {
        unsupported()
    }

    async fn uploads(&self, _: &Location) -> Result<Vec<Unfinished>> {
        unsupported()
    }

    async fn abort_upload(&self, _: &Unfinished) -> Result<()> {
        unsupported()
    }
}

struct Upload {
    at: Key,
    file: tokio::fs::File,
}

#[async_trait]
impl port::Upload for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.file.write_all(&bytes).await.map_err(io_error(&self.at))
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        self.file.flush().await.map_err(io_error(&self.at))?;
        Ok(ETAG.into())
    }

    async fn abort(self: Box<Self>) {}
}

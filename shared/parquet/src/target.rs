//! The destination of a write, which all of its streams share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use arrow_schema::SchemaRef;
use parquet::file::properties::WriterProperties;
use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
};
use turntable_core::{
    config,
    error::{Error, Result},
    layout::{Location, part},
    manifest::File,
    port::Objects,
};

use crate::{encode::Columns, progress::Progress, rows::Passthrough};

/// The destination of one table's rows, and the counts of what has been written.
pub(super) struct Target {
    pub objects: Arc<dyn Objects>,
    pub location: Location,
    pub columns: Arc<Columns>,
    pub sizes: config::Parquet,
    /// The number of the next file.
    number: AtomicUsize,
    rows: AtomicU64,
    bytes: AtomicU64,
    stop: watch::Sender<bool>,
}

impl Target {
    pub(super) fn new(
        objects: Arc<dyn Objects>,
        location: Location,
        schema: SchemaRef,
        properties: WriterProperties,
        sizes: config::Parquet,
    ) -> Result<Self> {
        let columns = Columns::new(schema, properties).map_err(|error| unencodable(&location, error))?;
        Ok(Self {
            objects,
            location,
            columns: Arc::new(columns),
            sizes,
            number: AtomicUsize::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stop: watch::Sender::new(false),
        })
    }

    /// Adds to the count of encoded rows.
    pub(super) fn encoded(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Adds to the count of sent bytes.
    pub(super) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a started file whose name isn't from [`Target::next_name`].
    pub(super) fn count_file(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress { rows: value(&self.rows), bytes: value(&self.bytes), files: self.number.load(Ordering::Relaxed) }
    }

    /// Signals all streams to stop.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns whether [`Target::stop`] has been called.
    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until [`Target::stop`] is called.
    pub(super) async fn stopped(&self) {
        // The wait can't fail, because `self` owns the sender.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Returns the error for a task that panicked.
    pub(super) fn panicked(&self, error: JoinError) -> Error {
        Error::corrupt(format!("{}: a writer thread panicked: this is a bug, please report it", self.location))
            .caused_by(error)
    }

    /// Runs CPU-bound work on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> parquet::errors::Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = spawn_blocking(work).await.map_err(|panic| self.panicked(panic))?;
        done.map_err(|error| unencodable(&self.location, error))
    }

    /// Lets S3 copy a passthrough file. Fails if the object has changed since it was listed.
    pub(super) async fn copy(&self, copy: Passthrough) -> Result<File> {
        let (name, Passthrough { entry, rows }) = (self.next_name(), copy);
        let etag = self.objects.copy(&entry.key, &entry.etag, &self.location.key(&name)).await?;
        self.encoded(rows as usize);
        self.sent(entry.size);
        Ok(File { key: name, bytes: entry.size, rows, etag })
    }

    /// Returns the name of the next file, and counts the file as started.
    pub(super) fn next_name(&self) -> String {
        part(self.number.fetch_add(1, Ordering::Relaxed))
    }
}

fn unencodable(location: &Location, error: parquet::errors::ParquetError) -> Error {
    Error::input(format!("{location}: the rows can't be written as Parquet: fix the source's columns or rows"))
        .caused_by(error)
}

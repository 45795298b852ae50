//! Writes encoded row groups to files, and files to objects.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arrow_schema::SchemaRef;
use parquet::file::properties::WriterProperties;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    encode::{Columns, RowGroup},
    file::Open,
    rows::Passthrough,
    write::{Progress, stopped},
};
use turntable_core::{
    config,
    error::{Error, Result},
    layout::{Location, part},
    manifest::File,
    port::Objects,
};

/// The destination that all streams of a table share.
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

    /// Counts one more begun file whose name doesn't come from this counter.
    pub(super) fn head(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress { rows: value(&self.rows), bytes: value(&self.bytes), files: self.number.load(Ordering::Relaxed) }
    }

    /// Tells all streams to give up.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until [`Target::stop`] is called.
    pub(super) async fn stopped(&self) {
        // `self` owns the sender, so it can't be dropped meanwhile.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Runs CPU-bound work on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> parquet::errors::Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = spawn_blocking(work).await.map_err(|panic| stopped(&self.location, panic))?;
        done.map_err(|error| unencodable(&self.location, error))
    }

    pub(super) async fn empty_file(&self) -> Result<File> {
        self.open().await?.finish(self).await
    }

    /// Lets S3 copy a passthrough file. Fails if the object has changed since it was listed.
    pub(super) async fn copy(&self, copy: Passthrough) -> Result<File> {
        let (name, Passthrough { entry, rows }) = (self.next_name(), copy);
        let etag = self.objects.copy(&entry.key, &entry.etag, &self.location.key(&name)).await?;
        self.encoded(rows as usize);
        self.sent(entry.size);
        Ok(File { key: name, bytes: entry.size, rows, etag })
    }

    async fn open(&self) -> Result<Open> {
        Open::new(self, self.next_name()).await
    }

    fn next_name(&self) -> String {
        part(self.number.fetch_add(1, Ordering::Relaxed))
    }
}

fn unencodable(location: &Location, error: parquet::errors::ParquetError) -> Error {
    Error::input(format!("{location}: the rows can't be written as Parquet: fix the source's columns or rows"))
        .caused_by(error)
}

/// The files of one stream. Sends one row group while the next is being built.
pub(super) struct Output {
    target: Arc<Target>,
    files: Vec<File>,
    /// `None` while a row group is being sent.
    open: Option<Open>,
    sending: Option<Sending>,
}

struct Sending {
    task: JoinHandle<Result<Open>>,
    /// Bytes of the row group that are still in memory.
    unsent: watch::Receiver<u64>,
}

impl Output {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, files: Vec::new(), open: None, sending: None }
    }

    /// Starts to send the row group after the previous one is sent.
    pub(super) async fn append(&mut self, group: RowGroup) -> Result<()> {
        self.sent().await?;
        let open = match self.open.take() {
            Some(open) => open,
            None => self.target.open().await?,
        };
        let (unsent, left) = watch::channel(group.size);
        let target = self.target.clone();
        let task = tokio::spawn(async move { open.append(group, unsent, &target).await });
        self.sending = Some(Sending { task, unsent: left });
        Ok(())
    }

    /// Waits until the current row group, of `building` bytes, and the unsent rest of the previous one together fit
    /// into one row group. So a slow network slows the source down, and memory is bounded.
    pub(super) async fn room_for(&mut self, building: u64) {
        let limit = self.target.sizes.row_group_size;
        if let Some(sending) = &mut self.sending {
            // An error means that all is sent or that sending failed. `append` handles both.
            let _ = sending.unsent.wait_for(|unsent| *unsent == 0 || unsent + building <= limit).await;
        }
    }

    /// Finishes the last file.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.sent().await?;
        if let Some(open) = self.open.take() {
            self.files.push(open.finish(&self.target).await?);
        }
        Ok(())
    }

    pub(super) fn into_files(mut self) -> Vec<File> {
        mem::take(&mut self.files)
    }

    /// Aborts the unfinished file. Call [`Target::stop`] first, or this waits until a row group is sent.
    pub(super) async fn abort(mut self) {
        let _ = self.sent().await;
        if let Some(open) = self.open.take() {
            open.abort().await;
        }
    }

    /// Waits until the current row group is sent. Finishes the file if it is full.
    async fn sent(&mut self) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let sent = (&mut sending.task).await;
        self.sending = None;
        let open = sent.unwrap_or_else(|panic| Err(stopped(&self.target.location, panic)))?;
        // A file is full when another row group would take its size farther from `file_size`.
        let config::Parquet { row_group_size, file_size } = self.target.sizes;
        match open.bytes() + row_group_size / 2 >= file_size {
            true => self.files.push(open.finish(&self.target).await?),
            false => self.open = Some(open),
        }
        Ok(())
    }
}

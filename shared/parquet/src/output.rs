//! Encoded row groups → files → objects.

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
    rows::Copy,
    write::{Progress, stopped},
};
use turntable_core::{
    config,
    error::{Error, Result},
    layout::{Location, part},
    manifest::File,
    port::Objects,
};

/// Where all streams of a table write to.
pub(super) struct Target {
    pub objects: Arc<dyn Objects>,
    pub location: Location,
    pub columns: Arc<Columns>,
    pub sizes: config::Parquet,
    /// Of the next file.
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

    /// So many more rows have been encoded.
    pub(super) fn encoded(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// So many more bytes have been sent.
    pub(super) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One more file was begun that has a name of its own.
    pub(super) fn begun(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress { rows: of(&self.rows), bytes: of(&self.bytes), files: self.number.load(Ordering::Relaxed) }
    }

    /// Tells all streams to give up.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until somebody has told all streams to give up.
    pub(super) async fn stopped(&self) {
        // The sender is `self`: it cannot be gone.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Does what takes a processor's time where that holds nobody up.
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

    /// A file that is copied by S3, as long as it is the object that was listed.
    pub(super) async fn copy(&self, copy: Copy) -> Result<File> {
        let (name, Copy { entry, rows }) = (self.next_name(), copy);
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
    Error::input(format!("{location}: the rows cannot be written as Parquet: correct the source's columns or rows"))
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

    /// Begins to send the row group, once the one before is sent.
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

    /// Waits until the row group that is being built, of so many bytes, and what is unsent of the one before are
    /// together no more than one row group. So a slow network slows the source, and memory has a bound.
    pub(super) async fn room_for(&mut self, building: u64) {
        let limit = self.target.sizes.row_group_size;
        if let Some(sending) = &mut self.sending {
            // An error says that all is sent, or has failed: `append` will see.
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

    /// Leaves nothing of an unfinished file. The target must have been told to stop, or this waits for a row group.
    pub(super) async fn abort(mut self) {
        let _ = self.sent().await;
        if let Some(open) = self.open.take() {
            open.abort().await;
        }
    }

    /// Waits for the row group that is being sent. A file that is full now is finished.
    async fn sent(&mut self) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let sent = (&mut sending.task).await;
        self.sending = None;
        let open = sent.unwrap_or_else(|panic| Err(stopped(&self.target.location, panic)))?;
        // Full is nearest to `file_size`: another row group would take it farther from it.
        let config::Parquet { row_group_size, file_size } = self.target.sizes;
        match open.bytes() + row_group_size / 2 >= file_size {
            true => self.files.push(open.finish(&self.target).await?),
            false => self.open = Some(open),
        }
        Ok(())
    }
}

//! Writes the encoded row groups of one stream to files.

use std::{mem, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};
use turntable_core::{config, error::Result, manifest::File};

use crate::{encode::RowGroup, file::Open, target::Target};

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

    /// Starts to send the row group after the previous one has been sent.
    pub(super) async fn append(&mut self, group: RowGroup) -> Result<()> {
        self.sent().await?;
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.target, self.target.next_name()).await?,
        };
        let (unsent, left) = watch::channel(group.size);
        let target = self.target.clone();
        let task = tokio::spawn(async move { open.append(group, unsent, &target).await });
        self.sending = Some(Sending { task, unsent: left });
        Ok(())
    }

    /// Waits until the current row group, of `building` bytes, and the unsent rest of the previous one together fit
    /// into one row group's size. So a slow network slows down the source, and memory is bounded.
    pub(super) async fn room_for(&mut self, building: u64) {
        let limit = self.target.sizes.row_group_size;
        if let Some(sending) = &mut self.sending {
            // An error means that everything was sent or that sending failed. `append` handles both.
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
        let open = sent.unwrap_or_else(|panic| Err(self.target.panicked(panic)))?;
        // A file is full when another row group would take its size farther from `file_size`.
        let config::Parquet { row_group_size, file_size } = self.target.sizes;
        match open.bytes() + row_group_size / 2 >= file_size {
            true => self.files.push(open.finish(&self.target).await?),
            false => self.open = Some(open),
        }
        Ok(())
    }
}

//! Sends the encoded row groups of one stream to files.

use std::{mem, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};
use turntable_core::{config, error::Result, manifest::File};

use crate::{encode::RowGroup, file::Open, target::Target};

/// The files of one stream. One row group is sent while the next one is being built.
pub(super) struct Output {
    target: Arc<Target>,
    files: Vec<File>,
    /// The file that the next row group goes to. `None` while a row group is being sent, and before a new file is
    /// started.
    open: Option<Open>,
    sending: Option<Sending>,
}

struct Sending {
    task: JoinHandle<Result<Open>>,
    /// The number of bytes of the row group that have not been sent yet.
    unsent: watch::Receiver<u64>,
}

impl Output {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, files: Vec::new(), open: None, sending: None }
    }

    /// Waits until the previous row group has been sent, then starts to send this one.
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

    /// Waits until the row group that is being built (`building` bytes) and the unsent part of the previous one
    /// together fit into the size of one row group. This way, a slow network slows down the source, and memory stays
    /// bounded.
    pub(super) async fn room_for(&mut self, building: u64) {
        let limit = self.target.sizes.row_group_size;
        if let Some(sending) = &mut self.sending {
            // An error means that sending has ended. `append` handles both success and failure.
            let _ = sending.unsent.wait_for(|unsent| *unsent == 0 || unsent + building <= limit).await;
        }
    }

    /// Waits until all row groups have been sent, and finishes the last file.
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

    /// Aborts the unfinished file. Call [`Target::stop`] first, or this waits until a whole row group has been sent.
    pub(super) async fn abort(mut self) {
        let _ = self.sent().await;
        if let Some(open) = self.open.take() {
            open.abort().await;
        }
    }

    /// Waits until the row group in flight has been sent, if there is one. Finishes the file if it is full.
    async fn sent(&mut self) -> Result<()> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let sent = (&mut sending.task).await;
        self.sending = None;
        let open = sent.unwrap_or_else(|panic| Err(self.target.panicked(panic)))?;
        // A file is full when another row group would take its size farther from `file_size`.
        let config::Parquet { row_group_size, file_size, .. } = self.target.sizes;
        match open.bytes() + row_group_size / 2 >= file_size {
            true => self.files.push(open.finish(&self.target).await?),
            false => self.open = Some(open),
        }
        Ok(())
    }
}

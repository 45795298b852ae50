//! One file on its way into an object.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use parquet::{errors, file::writer::SerializedFileWriter};
use tokio::sync::{mpsc, watch};

use super::{encode::RowGroup, output::Target};
use turntable_core::{
    error::{Error, Result},
    manifest::File,
    port::Upload,
};

/// Bytes that go to the upload at a time.
const PIECE: usize = 1 << 20;

/// A file that has been begun. Whatever fails aborts its upload.
pub(super) struct Open {
    name: String,
    rows: u64,
    writer: SerializedFileWriter<Pieces>,
    upload: Box<dyn Upload>,
}

impl Open {
    pub(super) async fn new(target: &Target, name: String) -> Result<Self> {
        let (schema, properties) = (target.columns.parquet.root_schema_ptr(), target.columns.properties.clone());
        let writer = target.blocking(|| SerializedFileWriter::new(Pieces::default(), schema, properties)).await?;
        let upload = target.objects.upload(&target.location.key(&name)).await?;
        Ok(Self { name, rows: 0, writer, upload })
    }

    /// Bytes that the file has so far.
    pub(super) fn bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Sends the row group, and says on the way how much of it is left.
    pub(super) async fn append(mut self, group: RowGroup, unsent: watch::Sender<u64>, target: &Target) -> Result<Self> {
        self.rows += group.rows;
        self.send(target, Some(unsent), |writer| {
            let mut row_group = writer.next_row_group()?;
            for column in group.columns {
                column.append_to_row_group(&mut row_group)?;
            }
            row_group.close().map(|_| ())
        })
        .await
    }

    pub(super) async fn finish(self, target: &Target) -> Result<File> {
        let this = self.send(target, None, |writer| writer.finish().map(|_| ())).await?;
        let (bytes, rows) = (this.bytes(), this.rows);
        Ok(File { key: this.name, bytes, rows, etag: this.upload.finish().await? })
    }

    pub(super) async fn abort(self) {
        self.upload.abort().await;
    }

    /// Lets `work` write to the file, and sends what it writes while it does.
    async fn send(
        self,
        target: &Target,
        unsent: Option<watch::Sender<u64>>,
        work: impl FnOnce(&mut SerializedFileWriter<Pieces>) -> errors::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let Open { name, rows, mut writer, mut upload } = self;
        let (to, mut pieces) = mpsc::channel::<Bytes>(1);
        let writing = target.blocking(move || {
            writer.inner_mut().to = Some(to);
            work(&mut writer)?;
            writer.flush()?;
            writer.inner_mut().to = None;
            Ok(writer)
        });
        let to = &mut upload;
        // Ends with the writer's work; and when it ends early, so does that work, for want of a receiver.
        let sending = async move {
            while let Some(piece) = pieces.recv().await {
                let length = piece.len() as u64;
                tokio::select! {
                    biased;
                    () = target.stopped() => return Err(Error::unavailable("another stream has failed")),
                    taken = to.write(piece) => taken?,
                }
                target.sent(length);
                if let Some(unsent) = &unsent {
                    unsent.send_modify(|unsent| *unsent = unsent.saturating_sub(length));
                }
            }
            Ok(())
        };
        let (written, sent) = tokio::join!(writing, sending);
        match sent.and(written) {
            Ok(writer) => Ok(Open { name, rows, writer, upload }),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }
}

/// What the writer of a file writes to: hands it on in pieces.
#[derive(Default)]
pub(super) struct Pieces {
    to: Option<mpsc::Sender<Bytes>>,
    piece: BytesMut,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = self.piece.split().freeze();
        // What is written before there is a receiver, the magic number, is kept until there is one.
        match &self.to {
            None => self.piece = piece.into(),
            Some(_) if piece.is_empty() => {}
            Some(to) => to.blocking_send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?,
        }
        Ok(())
    }
}

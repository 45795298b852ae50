//! Streams one Parquet file into an object.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use parquet::{errors, file::writer::SerializedFileWriter};
use tokio::sync::{mpsc, watch};
use turntable_core::{
    error::{Error, Result},
    manifest::File,
    port::Upload,
};

use super::{encode::RowGroup, nested_nulls, target::Target};

/// The number of bytes at which a piece is complete and passed to the upload.
const PIECE_BYTES: usize = 1 << 20;

/// A file that is being written and its upload. If sending or finishing it fails, the upload is aborted.
pub(super) struct Open {
    name: String,
    rows: u64,
    /// The number of nulls in each field of the schema.
    nulls: Vec<u64>,
    writer: SerializedFileWriter<Pieces>,
    upload: Box<dyn Upload>,
}

impl Open {
    pub(super) async fn new(target: &Target, name: String) -> Result<Self> {
        let (schema, properties) = (target.columns.parquet.root_schema_ptr(), target.columns.properties.clone());
        let writer = target.blocking(|| SerializedFileWriter::new(Pieces::default(), schema, properties)).await?;
        let upload = target.objects.upload(&target.location.key(&name)).await?;
        let nulls = vec![0; target.columns.schema.fields().len()];
        Ok(Self { name, rows: 0, nulls, writer, upload })
    }

    /// Returns the file's size so far, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Appends a row group and sends its bytes. Subtracts the bytes from `unsent` as they are sent.
    pub(super) async fn append(mut self, group: RowGroup, unsent: watch::Sender<u64>, target: &Target) -> Result<Self> {
        self.rows += group.rows;
        self.nulls.iter_mut().zip(&group.nulls).for_each(|(nulls, more)| *nulls += more);
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
        let metadata = nested_nulls::metadata(&target.columns.schema, &self.nulls);
        let finish = |writer: &mut SerializedFileWriter<Pieces>| {
            metadata.into_iter().for_each(|pair| writer.append_key_value_metadata(pair));
            writer.finish().map(|_| ())
        };
        let this = self.send(target, None, finish).await?;
        let (bytes, rows) = (this.bytes(), this.rows);
        Ok(File { key: this.name, bytes, rows, etag: this.upload.finish().await? })
    }

    pub(super) async fn abort(self) {
        self.upload.abort().await;
    }

    /// Runs `work`, which writes to the file, and sends the bytes at the same time.
    async fn send(
        self,
        target: &Target,
        unsent: Option<watch::Sender<u64>>,
        work: impl FnOnce(&mut SerializedFileWriter<Pieces>) -> errors::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let Open { name, rows, nulls, mut writer, mut upload } = self;
        let (to, mut pieces) = mpsc::channel::<Bytes>(1);
        let writing = target.blocking(move || {
            writer.inner_mut().to = Some(to);
            work(&mut writer)?;
            writer.flush()?;
            writer.inner_mut().to = None;
            Ok(writer)
        });
        let (to, file) = (&mut upload, &name);
        // Ends when the writer drops its sender. If sending fails earlier, the writer fails too, because the receiver
        // is gone.
        let sending = async move {
            while let Some(piece) = pieces.recv().await {
                let length = piece.len() as u64;
                tokio::select! {
                    biased;
                    () = target.stopped() => return Err(Error::unavailable(format!(
                        "{}: writing {file} was stopped before it finished, because another stream failed or the time ran \
                         out: run the export or refresh again",
                        target.location
                    ))),
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
            Ok(writer) => Ok(Open { name, rows, nulls, writer, upload }),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }
}

/// The sink that a file's writer writes to. It passes the bytes on in pieces.
#[derive(Default)]
pub(super) struct Pieces {
    to: Option<mpsc::Sender<Bytes>>,
    piece: BytesMut,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = self.piece.split().freeze();
        // The writer writes the file's magic number before there is a receiver, so it is kept until there is one.
        match &self.to {
            None => self.piece = piece.into(),
            Some(_) if piece.is_empty() => {}
            Some(to) => to.blocking_send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?,
        }
        Ok(())
    }
}

//! Uploads one object: a small one in one request, a larger one in parts. Parts are sent while the next one is being
//! filled.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::{Bytes, BytesMut};
use tokio::{runtime::Handle, task::JoinSet};
use turntable_core::{
    error::{Error, Result},
    layout::Key,
    port,
};

use super::{
    client::S3,
    fault::fault,
    put::{self, CHECKSUM, MARK},
    response::incomplete,
};

/// The size, in bytes, of every part but the last. S3 allows 5 MiB to 5 GiB.
const PART_BYTES: usize = 8 << 20;

/// The maximum number of parts that S3 allows in one object.
const MAX_PARTS: i32 = 10_000;

/// A streaming upload. It buffers one part. All uploads together have at most [`super::client::PARTS_IN_FLIGHT`] parts
/// in flight.
pub(super) struct Streaming {
    s3: S3,
    at: Key,
    buffer: BytesMut,
    begun: Option<Begun>,
}

/// A multipart upload that has been created in S3.
struct Begun {
    upload: Arc<Ongoing>,
    /// The unique mark of this write: see [`put`].
    mark: String,
    /// The number of parts that have been sent or are being sent.
    sent: i32,
    sending: JoinSet<Result<CompletedPart>>,
    done: Vec<CompletedPart>,
    /// Whether the upload has been completed or aborted.
    over: bool,
}

struct Ongoing {
    client: Client,
    at: Key,
    id: String,
}

impl Streaming {
    pub(super) fn new(s3: S3, at: Key) -> Self {
        Self { s3, at, buffer: BytesMut::new(), begun: None }
    }

    /// Sends the buffer as the next part, as soon as a permit is free.
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    async fn send_part(&mut self) -> Result<()> {
        let begun = match &mut self.begun {
            Some(begun) => begun,
            None => self.begun.insert(begin(&self.s3.client, &self.at).await?),
        };
        while let Some(part) = begun.sending.try_join_next() {
            begun.done.push(joined(&self.at, part)?);
        }
        if begun.sent == MAX_PARTS {
            return Err(Error::config(format!(
                "{}: the object is larger than {MAX_PARTS} parts of {PART_BYTES} bytes, the most in one upload: lower \
                 parquet.file_size",
                self.at
            )));
        }
        begun.sent += 1;
        let (number, upload) = (begun.sent, begun.upload.clone());
        let body = std::mem::take(&mut self.buffer).freeze();
        let permit = self.s3.parts.clone().acquire_owned().await.expect("never closed");
        begun.sending.spawn(async move {
            let part = upload.part(number, body).await;
            drop(permit);
            part
        });
        Ok(())
    }
}

#[async_trait]
impl port::Upload for Streaming {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while self.buffer.len() + bytes.len() >= PART_BYTES {
            let fill = bytes.split_to(PART_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(&fill);
            self.send_part().await?;
        }
        if self.buffer.is_empty() {
            self.buffer.reserve(PART_BYTES);
        }
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        let written = match self.begun.is_some() {
            false => put::small(&self.s3.client, &self.at, std::mem::take(&mut self.buffer).freeze()).await?,
            true => {
                if !self.buffer.is_empty() {
                    self.send_part().await?;
                }
                match self.begun.take() {
                    Some(begun) => begun.complete().await?,
                    None => None,
                }
            }
        };
        written.ok_or_else(|| {
            Error::conflict(format!(
                "{}: another run has already written this object, so it was not overwritten: invoke the function \
                 again",
                self.at
            ))
        })
    }

    async fn abort(mut self: Box<Self>) {
        if let Some(mut begun) = self.begun.take() {
            begun.abort().await;
        }
    }
}

async fn begin(client: &Client, at: &Key) -> Result<Begun> {
    let mark = put::mark();
    let request = client.create_multipart_upload().bucket(&at.bucket).key(&at.key).checksum_algorithm(CHECKSUM);
    let created = request.metadata(MARK, &mark).send().await;
    let created = created.map_err(|error| fault("CreateMultipartUpload", at, error))?;
    let id = created.upload_id.ok_or_else(|| incomplete(at))?;
    let upload = Arc::new(Ongoing { client: client.clone(), at: at.clone(), id });
    Ok(Begun { upload, mark, sent: 0, sending: JoinSet::new(), done: Vec::new(), over: false })
}

fn joined(at: &Key, part: Result<Result<CompletedPart>, tokio::task::JoinError>) -> Result<CompletedPart> {
    part.unwrap_or_else(|error| {
        let stopped = format!("{at}: the upload of a part was stopped before it finished: invoke the function again");
        Err(Error::unavailable(stopped).caused_by(error))
    })
}

impl Begun {
    /// Completes the upload. Returns the ETag, or `None` if the key already exists. Unless it returns an ETag, aborts
    /// the upload.
    async fn complete(mut self) -> Result<Option<String>> {
        let completed = self.try_complete().await;
        match completed {
            Ok(Some(_)) => self.over = true,
            _ => self.abort().await,
        }
        completed
    }

    async fn abort(&mut self) {
        // Stop sending first: a part that arrives after the abort would stay in S3.
        self.sending.shutdown().await;
        self.upload.abort().await;
        self.over = true;
    }

    async fn try_complete(&mut self) -> Result<Option<String>> {
        while let Some(part) = self.sending.join_next().await {
            self.done.push(joined(&self.upload.at, part)?);
        }
        self.done.sort_by_key(|part| part.part_number);
        let Ongoing { client, at, id } = &*self.upload;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.done))).build();
        let request = client.complete_multipart_upload().bucket(&at.bucket).key(&at.key).upload_id(id);
        let request = request.multipart_upload(parts).if_none_match("*");
        put::settled(client, "CompleteMultipartUpload", at, &self.mark, || {
            let request = request.clone();
            async move { Ok(request.send().await?.e_tag) }
        })
        .await
    }
}

/// Aborts an upload that is dropped before it is completed, for example because the future that writes it was dropped.
/// The abort runs in a background task, so it happens only if the process lives on.
impl Drop for Begun {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.over, Handle::try_current()) {
            let (mut sending, upload) = (std::mem::take(&mut self.sending), self.upload.clone());
            runtime.spawn(async move {
                sending.shutdown().await;
                upload.abort().await;
            });
        }
    }
}

impl Ongoing {
    async fn part(&self, number: i32, body: Bytes) -> Result<CompletedPart> {
        let Ongoing { client, at, id } = self;
        let request = client.upload_part().bucket(&at.bucket).key(&at.key).upload_id(id).part_number(number);
        let sent = request.checksum_algorithm(CHECKSUM).body(body.into()).send().await;
        let sent = sent.map_err(|error| fault("UploadPart", at, error))?;
        let etag = sent.e_tag.ok_or_else(|| incomplete(at))?;
        Ok(CompletedPart::builder().part_number(number).e_tag(etag).set_checksum_crc32(sent.checksum_crc32).build())
    }

    async fn abort(&self) {
        let Ongoing { client, at, id } = self;
        let aborted = client.abort_multipart_upload().bucket(&at.bucket).key(&at.key).upload_id(id).send().await;
        if let Err(error) = aborted {
            let error = fault("AbortMultipartUpload", at, error);
            tracing::warn!(%at, error = error.report(), "abort failed: parts of the upload may remain in S3");
        }
    }
}

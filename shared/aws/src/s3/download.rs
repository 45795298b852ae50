//! Downloads objects. Streams resume after a broken connection.

use std::ops::Range;

use aws_sdk_s3::{Client, primitives::ByteStream};
use bytes::Bytes;
use futures::{StreamExt, stream};
use turntable_core::{
    error::{Error, Result},
    layout::Key,
    port::Chunks,
};

use super::fault::fault;

/// How many times in a row to resume a stream that breaks before it returns any bytes.
const MAX_RETRIES: u32 = 3;

/// Requests the object, or a range of its bytes, and returns the body. Fails if the object no longer has this ETag.
pub(super) async fn open(client: &Client, at: &Key, etag: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
    let range = range.map(|range| match range.end {
        u64::MAX => format!("bytes={}-", range.start),
        // S3's ranges include the last byte.
        end => format!("bytes={}-{}", range.start, end - 1),
    });
    let request = client.get_object().bucket(&at.bucket).key(&at.key).if_match(format!("\"{etag}\"")).set_range(range);
    Ok(request.send().await.map_err(|error| fault("GetObject", at, error))?.body)
}

/// Reads a body to its end. Fails if the connection breaks, instead of resuming: the caller's retry sends a new
/// request.
pub(super) async fn whole(at: &Key, body: ByteStream) -> Result<Bytes> {
    let body = body.collect().await.map_err(|error| broken(at).caused_by(error))?;
    Ok(body.into_bytes())
}

/// Streams the whole object. Resumes a broken stream where it broke, because a slow reader may exceed S3's idle
/// timeout, and an object of several gigabytes takes minutes.
pub(super) async fn stream(client: Client, at: Key, etag: String) -> Result<Chunks> {
    let body = open(&client, &at, &etag, None).await?;
    let reading = Reading { client, at, etag, body, offset: 0, retries: 0 };
    Ok(stream::try_unfold(reading, |mut reading| async { Ok(reading.next().await?.map(|bytes| (bytes, reading))) })
        .boxed())
}

struct Reading {
    client: Client,
    at: Key,
    etag: String,
    body: ByteStream,
    /// The number of bytes returned so far.
    offset: u64,
    /// How many times the stream has been resumed since it last returned bytes.
    retries: u32,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.body.try_next().await {
                Ok(Some(bytes)) => {
                    self.offset += bytes.len() as u64;
                    self.retries = 0;
                    return Ok(Some(bytes));
                }
                Ok(None) => return Ok(None),
                Err(error) if self.retries == MAX_RETRIES => return Err(broken(&self.at).caused_by(error)),
                Err(error) => {
                    self.retries += 1;
                    tracing::warn!(at = %self.at, offset = self.offset, %error, "S3 closed the stream; resuming");
                    self.body = open(&self.client, &self.at, &self.etag, Some(self.offset..u64::MAX)).await?;
                }
            }
        }
    }
}

fn broken(at: &Key) -> Error {
    Error::unavailable(format!("{at}: S3 closed the connection in the middle of the object: invoke the function again"))
}

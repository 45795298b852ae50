//! An object as a stream that survives a broken connection.

use std::ops::Range;

use aws_sdk_s3::{Client, primitives::ByteStream};
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::fault::fault;
use turntable_core::{
    error::{Error, Result},
    layout::Key,
    port::Chunks,
};

/// How often in a row, without a byte in between, a broken stream is taken up again.
const RETRIES: u32 = 3;

/// The body of a `GetObject` of the object, or of part of it, of which `etag` must still be true.
pub(super) async fn open(client: &Client, at: &Key, etag: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
    let range = range.map(|range| match range.end {
        u64::MAX => format!("bytes={}-", range.start),
        // S3 counts the last byte in.
        end => format!("bytes={}-{}", range.start, end - 1),
    });
    let request = client.get_object().bucket(&at.bucket).key(&at.key).if_match(format!("\"{etag}\"")).set_range(range);
    Ok(request.send().await.map_err(|error| fault("GetObject", at, error))?.body)
}

/// All of a body. The client has tried its best by then, and a caller's next attempt is another request.
pub(super) async fn whole(at: &Key, body: ByteStream) -> Result<Bytes> {
    let body = body.collect().await.map_err(|error| broken(at).caused_by(error))?;
    Ok(body.into_bytes())
}

/// The whole object. A reader may be slower than S3's patience with an idle connection, and an object of gigabytes
/// takes minutes: what breaks is taken up again where it broke.
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
    /// Bytes handed on.
    offset: u64,
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
                Err(error) if self.retries == RETRIES => return Err(broken(&self.at).caused_by(error)),
                Err(error) => {
                    self.retries += 1;
                    tracing::warn!(at = %self.at, offset = self.offset, %error, "S3 broke off; taken up again");
                    self.body = open(&self.client, &self.at, &self.etag, Some(self.offset..u64::MAX)).await?;
                }
            }
        }
    }
}

fn broken(at: &Key) -> Error {
    Error::unavailable(format!("{at}: S3 broke off in the middle of the object: run again"))
}

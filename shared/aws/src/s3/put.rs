//! Conditional writes that recognise an object from their own earlier attempt.
//!
//! The client retries a request whose response was lost. The retry then fails, because the first attempt has written
//! the key. So each write carries a unique mark in its metadata. If the key exists, or if no response arrives, the
//! writer checks whether the object has its own mark. (slatedb's `retrying_object_store.rs` does the same.)

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::ChecksumAlgorithm,
};
use bytes::Bytes;
use tokio::time::sleep;
use turntable_core::{error::Result, layout::Key};
use ulid::Ulid;

use super::{
    fault::{Refusal, fault, refusal},
    response::{incomplete, unquoted},
};

/// The metadata key of a write's mark, which is sent as the header `x-amz-meta-turntable-write`.
pub(super) const MARK: &str = "turntable-write";

/// The checksum of every write. CRC32 is cheap, and S3 and every SDK support it. Without a checksum in the request, the
/// receiver computes a CRC64NVME, which takes MiniStack, an emulator written in Python, seconds per part.
pub(super) const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

/// How many times to retry a write that lost a race with another write to the same key (status 409).
const MAX_RACES: u32 = 5;
/// The pause before the first retry of a write that lost a race. It doubles before each further retry.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "a mark only has to be unique: no decision depends on it")]
pub(super) fn mark() -> String {
    Ulid::generate().to_string()
}

/// Creates an object with one `PutObject`. Returns its ETag, or `None` if the key already exists.
pub(super) async fn small(client: &Client, at: &Key, body: Bytes) -> Result<Option<String>> {
    let mark = mark();
    settled(client, "PutObject", at, &mark, || {
        let request = client.put_object().bucket(&at.bucket).key(&at.key).body(body.clone().into());
        let request = request.checksum_algorithm(CHECKSUM).if_none_match("*").metadata(MARK, &mark);
        async move { Ok(request.send().await?.e_tag) }
    })
    .await
}

/// Replaces an object by sending one `PutObject` with `If-Match`, which also requires the permission `s3:GetObject`.
/// Returns the new ETag, or `None` if the object has changed.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
pub(super) async fn replace(client: &Client, at: &Key, etag: &str, body: Bytes) -> Result<Option<String>> {
    let mark = mark();
    settled(client, "PutObject", at, &mark, || {
        let request = client.put_object().bucket(&at.bucket).key(&at.key).body(body.clone().into());
        let request = request.checksum_algorithm(CHECKSUM).if_match(format!("\"{etag}\"")).metadata(MARK, &mark);
        async move { Ok(request.send().await?.e_tag) }
    })
    .await
}

/// Sends a conditional write and determines its result. Repeats the write after a race. If the precondition failed or
/// S3's response was lost, looks for the mark. Returns the ETag, or `None` if the precondition failed because of
/// another writer.
pub(super) async fn settled<E, F>(
    client: &Client,
    action: &str,
    at: &Key,
    mark: &str,
    send: impl Fn() -> F,
) -> Result<Option<String>>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<Option<String>, SdkError<E, HttpResponse>>>,
{
    let mut races = 0;
    loop {
        let error = match send().await {
            Ok(Some(etag)) => return Ok(Some(unquoted(&etag))),
            Ok(None) => return Err(incomplete(at)),
            Err(error) => error,
        };
        match refusal(&error) {
            Refusal::Race if races < MAX_RACES => {
                sleep(FIRST_PAUSE * 2u32.pow(races)).await;
                races += 1;
            }
            Refusal::Precondition => return etag_if_own(client, at, mark).await,
            // `Missing` may mean that the first attempt completed the multipart upload, which then no longer exists.
            Refusal::Unavailable | Refusal::Missing | Refusal::Race => {
                return match etag_if_own(client, at, mark).await {
                    Ok(Some(etag)) => Ok(Some(etag)),
                    _ => Err(fault(action, at, error)),
                };
            }
            _ => return Err(fault(action, at, error)),
        }
    }
}

/// Returns the object's ETag if the object has this mark, and `None` otherwise.
async fn etag_if_own(client: &Client, at: &Key, mark: &str) -> Result<Option<String>> {
    let object = client
        .head_object()
        .bucket(&at.bucket)
        .key(&at.key)
        .send()
        .await
        .map_err(|error| fault("HeadObject", at, error))?;
    let is_own = object.metadata().and_then(|metadata| metadata.get(MARK)).is_some_and(|found| found == mark);
    Ok(object.e_tag.filter(|_| is_own).map(|etag| unquoted(&etag)))
}

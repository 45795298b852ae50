//! Create-if-absent that knows its own echo.
//!
//! The client sends a request again whose answer was lost, and the second attempt then finds the key taken, by the
//! first. So each write carries a mark of its own as metadata, and whoever finds a key taken, or hears nothing, looks
//! whose mark is there. (slatedb's `retrying_object_store.rs` does the same.)

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::ChecksumAlgorithm,
};
use bytes::Bytes;
use tokio::time::sleep;
use ulid::Ulid;

use super::{
    fault::{Refusal, fault, refusal},
    unquoted,
};
use turntable_core::{error::Result, layout::Key};

/// The metadata that holds the mark: `x-amz-meta-turntable-write`.
pub(super) const MARK: &str = "turntable-write";

/// CRC32, which is in every SDK's and S3's repertoire and costs nothing; and without a checksum of the request's own,
/// S3 computes a CRC64NVME, for which MiniStack, in Python, takes seconds a part.
pub(super) const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

/// How often a write that met another of the same key (409) is sent again, and how long the first pause is.
const RACES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

#[expect(clippy::disallowed_methods, reason = "a mark decides nothing: it only has to differ")]
pub(super) fn mark() -> String {
    Ulid::generate().to_string()
}

/// One `PutObject`. The ETag, or `None` where the key was taken.
pub(super) async fn small(client: &Client, at: &Key, body: Bytes) -> Result<Option<String>> {
    let mark = mark();
    settled(client, "PutObject", at, &mark, || {
        let request = client.put_object().bucket(&at.bucket).key(&at.key).body(body.clone().into());
        let request = request.checksum_algorithm(CHECKSUM).if_none_match("*").metadata(MARK, &mark);
        async move { Ok(request.send().await?.e_tag) }
    })
    .await
}

/// One `PutObject` with `If-Match`, which takes `s3:GetObject` too. The ETag, or `None` where the object has changed.
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

/// Sends a conditional write until it is known what has become of it. The ETag, or `None` where the key was taken.
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
            Ok(None) => return Err(super::incomplete(at)),
            Err(error) => error,
        };
        match refusal(&error) {
            Refusal::Race if races < RACES => {
                sleep(PAUSE * 2u32.pow(races)).await;
                races += 1;
            }
            Refusal::Precondition => return own(client, at, mark).await,
            // The upload is gone once it has been completed.
            Refusal::Unavailable | Refusal::Missing | Refusal::Race => {
                return match own(client, at, mark).await {
                    Ok(Some(etag)) => Ok(Some(etag)),
                    _ => Err(fault(action, at, error)),
                };
            }
            _ => return Err(fault(action, at, error)),
        }
    }
}

/// The ETag of the object, if it bears the mark.
async fn own(client: &Client, at: &Key, mark: &str) -> Result<Option<String>> {
    let object = client
        .head_object()
        .bucket(&at.bucket)
        .key(&at.key)
        .send()
        .await
        .map_err(|error| fault("HeadObject", at, error))?;
    let ours = object.metadata().and_then(|metadata| metadata.get(MARK)).is_some_and(|found| found == mark);
    Ok(object.e_tag.filter(|_| ours).map(|etag| unquoted(&etag)))
}

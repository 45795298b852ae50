//! Deletes objects, and lists and aborts unfinished uploads. Only sweep does this.

use aws_sdk_s3::{
    Client,
    types::{Delete, MultipartUpload, ObjectIdentifier},
};
use jiff::Timestamp;
use turntable_core::{
    error::{Error, Result},
    layout::{Key, Location},
    port::Unfinished,
};

use super::{
    fault::{Refusal, fault, is_missing, refusal},
    response::incomplete,
};

/// Sends one `DeleteObjects`. S3 responds with status 200 even if it failed to delete some keys, and lists those keys
/// in the body. All keys must be in one bucket.
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub(super) async fn objects(client: &Client, keys: &[Key]) -> Result<()> {
    let Some(first) = keys.first() else { return Ok(()) };
    let named =
        |key: &Key| ObjectIdentifier::builder().key(&key.key).build().expect("the only required field is the key");
    let delete = Delete::builder().set_objects(Some(keys.iter().map(named).collect())).quiet(true).build();
    let delete = delete.expect("the only required field is the objects");
    let sent = client.delete_objects().bucket(&first.bucket).delete(delete).send().await;
    let answer = sent.map_err(|error| fault("DeleteObjects", first, error))?;
    let failed = answer.errors();
    let Some(one) = failed.first() else { return Ok(()) };
    let (key, code) = (one.key().unwrap_or_default(), one.code().unwrap_or("no reason given"));
    let message = format!(
        "S3 did not delete {} of {} objects, for example s3://{}/{key} ({code})",
        failed.len(),
        keys.len(),
        first.bucket
    );
    Err(match code {
        "AccessDenied" => Error::config(format!("{message}: allow s3:DeleteObject in the function's role")),
        _ => Error::unavailable(format!("{message}: invoke sweep again")),
    })
}

/// Sends one `DeleteObject` with `If-Match`, which also requires the permission `s3:GetObject`. Returns `false` if the
/// object has changed or is missing, or if another write was in progress. The result is also `false` if the response to
/// a successful deletion was lost, because the client's retry then finds no object.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html>
pub(super) async fn if_unchanged(client: &Client, at: &Key, etag: &str) -> Result<bool> {
    let sent = client.delete_object().bucket(&at.bucket).key(&at.key).if_match(format!("\"{etag}\"")).send().await;
    match sent {
        Ok(_) => Ok(true),
        Err(error) if matches!(refusal(&error), Refusal::Precondition | Refusal::Missing | Refusal::Race) => Ok(false),
        Err(error) => Err(fault("DeleteObject", at, error)),
    }
}

pub(super) async fn uploads(client: &Client, under: &Location) -> Result<Vec<Unfinished>> {
    let request = client.list_multipart_uploads().bucket(&under.bucket).prefix(&under.prefix);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (key, id) = after.unzip();
        let page = request.clone().set_key_marker(key).set_upload_id_marker(id).send().await;
        let page = page.map_err(|error| fault("ListMultipartUploads", under, error))?;
        for upload in page.uploads() {
            found.push(unfinished(under, upload)?);
        }
        after = page.next_key_marker.zip(page.next_upload_id_marker);
        if !page.is_truncated.unwrap_or(false) || after.is_none() {
            return Ok(found);
        }
    }
}

fn unfinished(under: &Location, upload: &MultipartUpload) -> Result<Unfinished> {
    let initiated = upload.initiated().and_then(|time| Timestamp::from_second(time.secs()).ok());
    match (upload.key(), upload.upload_id(), initiated) {
        (Some(key), Some(id), Some(initiated)) => {
            Ok(Unfinished { key: Key { bucket: under.bucket.clone(), key: key.into() }, id: id.into(), initiated })
        }
        _ => Err(incomplete(under)),
    }
}

pub(super) async fn abort(client: &Client, Unfinished { key, id, .. }: &Unfinished) -> Result<()> {
    match client.abort_multipart_upload().bucket(&key.bucket).key(&key.key).upload_id(id).send().await {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(fault("AbortMultipartUpload", key, error)),
    }
}

//! Reads fields from S3's responses.

use std::fmt::Display;

use aws_sdk_s3::{primitives::DateTime, types::Object};
use jiff::Timestamp;
use turntable_core::{
    error::{Error, Result},
    layout::{Key, Location},
    port::Entry,
};

/// Returns the entry for an object. Fails if the response lacks the size, the ETag or the time.
pub(super) fn entry(key: Key, size: Option<i64>, etag: Option<&str>, modified: Option<DateTime>) -> Result<Entry> {
    let size = size.and_then(|size| u64::try_from(size).ok());
    let modified = modified.and_then(|time| Timestamp::from_millisecond(time.to_millis().ok()?).ok());
    match (size, etag, modified) {
        (Some(size), Some(etag), Some(modified)) => Ok(Entry { key, size, etag: unquoted(etag), modified }),
        _ => Err(incomplete(&key)),
    }
}

/// Removes the quotes that S3 puts around an ETag.
pub(super) fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// Converts the objects on one page of a listing to entries.
pub(super) fn listed(under: &Location, objects: Option<Vec<Object>>) -> Result<Vec<Entry>> {
    let of = |object: Object| {
        let key = object.key.ok_or_else(|| incomplete(under))?;
        let at = Key { bucket: under.bucket.clone(), key };
        entry(at, object.size, object.e_tag.as_deref(), object.last_modified)
    };
    objects.unwrap_or_default().into_iter().map(of).collect()
}

/// Returns the error for a response without a field that S3 always sends.
pub(super) fn incomplete(at: &impl Display) -> Error {
    Error::unavailable(format!(
        "{at}: S3's response lacks a required field, such as the key, size, ETag or time: invoke the function again"
    ))
}

//! Reads and replaces a group's record in S3. A replacement succeeds only if the record still has the ETag that was
//! read.

use crate::{environment::Environment, publish::attempts::Attempts};
use turntable_core::{
    error::{Kind, Result},
    group::Record,
    layout::Group,
    port::Put,
    record,
};

/// A group's record as it was read, with its ETag.
pub struct Found {
    pub record: Record,
    /// The record's ETag. `None` if the object does not exist yet.
    etag: Option<String>,
}

/// Reads a group's record. Returns an empty record if the object doesn't exist yet.
pub async fn read(env: &Environment, group: &Group) -> Result<Found> {
    let key = group.record();
    let mut attempts = Attempts::on(group.record());
    loop {
        attempts.begin()?;
        let Some(entry) = env.objects.head(&key).await? else {
            return Ok(Found { record: Record::new(&group.name), etag: None });
        };
        match env.objects.range(&key, &entry.etag, 0..entry.size).await {
            Ok(json) => return Ok(Found { record: record::from_json(&key, &json)?, etag: Some(entry.etag) }),
            // Another invocation replaced the record between the two calls, so it is read again.
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}

impl Found {
    /// Replaces the record with `with` if it hasn't changed since it was read. Returns `false` if it has changed: read
    /// it again and retry.
    pub async fn replace(&self, env: &Environment, group: &Group, with: &Record) -> Result<bool> {
        let (key, json) = (group.record(), record::to_json(with).into());
        match &self.etag {
            None => Ok(env.objects.put_new(&key, json).await? == Put::Created),
            Some(etag) => env.objects.replace(&key, etag, json).await,
        }
    }
}

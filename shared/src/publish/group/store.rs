//! The record of a group in S3, which is changed only as it was read.

use crate::{environment::World, publish::ATTEMPTS};
use turntable_core::{
    error::{Error, Kind, Result},
    group::Record,
    layout::Group,
    port::Put,
    record,
};

/// A record as it was read.
pub struct Found {
    pub record: Record,
    /// `None`: there is no such object yet.
    etag: Option<String>,
}

pub async fn read(world: &World, group: &Group) -> Result<Found> {
    let key = group.record();
    for _ in 0..ATTEMPTS {
        let Some(entry) = world.objects.head(&key).await? else {
            return Ok(Found { record: Record::new(&group.name), etag: None });
        };
        match world.objects.range(&key, &entry.etag, 0..entry.size).await {
            Ok(json) => return Ok(Found { record: record::from_json(&key, &json)?, etag: Some(entry.etag) }),
            // It was replaced in between.
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Err(busy(group))
}

impl Found {
    /// `false`: somebody else was faster, read again.
    pub async fn replace(&self, world: &World, group: &Group, with: &Record) -> Result<bool> {
        let (key, json) = (group.record(), record::to_json(with).into());
        match &self.etag {
            None => Ok(world.objects.put_new(&key, json).await? == Put::Created),
            Some(etag) => world.objects.replace(&key, etag, json).await,
        }
    }
}

pub fn busy(group: &Group) -> Error {
    Error::conflict(format!("{}: somebody else was at it {ATTEMPTS} times meanwhile: run again", group.record()))
}

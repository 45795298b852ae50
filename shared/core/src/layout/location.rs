//! S3 keys and folders.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// The maximum length of an S3 key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The bucket and key of one S3 object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub bucket: String,
    pub key: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match split_uri(text) {
            Some((bucket, key)) if !key.is_empty() => Ok(Key { bucket: bucket.into(), key: key.into() }),
            _ => Err(Error::input(format!("{text:?} is not an S3 object: expected s3://BUCKET/KEY"))),
        }
    }
}

/// One object in an S3 listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    /// The size in bytes.
    pub size: u64,
    /// The ETag, without the quotes that S3 puts around it.
    pub etag: String,
    pub modified: Timestamp,
}

/// One S3 folder. The prefix is empty for a whole bucket; otherwise it ends with `/`, so that `blue` never matches
/// `blue-2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub bucket: String,
    pub prefix: String,
}

impl Location {
    pub fn key(&self, name: &str) -> Key {
        Key { bucket: self.bucket.clone(), key: format!("{}{name}", self.prefix) }
    }

    pub fn folder(&self, name: &str) -> Location {
        Location { bucket: self.bucket.clone(), prefix: format!("{}{name}/", self.prefix) }
    }

    /// Returns whether `other` is this location or lies inside it.
    pub fn contains(&self, other: &Location) -> bool {
        self.bucket == other.bucket && other.prefix.starts_with(&self.prefix)
    }

    /// Returns the folder that contains this one, or `None` for a whole bucket.
    pub fn parent(&self) -> Option<Location> {
        let path = self.prefix.strip_suffix('/')?;
        let prefix = path.rsplit_once('/').map_or_else(String::new, |(parent, _)| format!("{parent}/"));
        Some(Location { bucket: self.bucket.clone(), prefix })
    }

    /// Returns whether the locations are equal or one contains the other. Athena reads sub-folders, so a table at the
    /// outer location would also contain the data at the inner one.
    pub fn overlaps(&self, other: &Location) -> bool {
        self.contains(other) || other.contains(self)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (bucket, prefix) = split_uri(text)
            .ok_or_else(|| Error::input(format!("{text:?} is not an S3 location: expected s3://BUCKET/PREFIX")))?;
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Location { bucket: bucket.into(), prefix })
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Splits `s3://BUCKET/REST`. Also accepts `s3a` and `s3n`, which Spark and Hive wrote into older tables. Returns
/// `None` for other texts.
fn split_uri(text: &str) -> Option<(&str, &str)> {
    let rest = ["s3://", "s3a://", "s3n://"].iter().find_map(|scheme| text.strip_prefix(scheme))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    (!bucket.is_empty()).then_some((bucket, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sibling_with_common_prefix_does_not_overlap() {
        let at = |text: &str| text.parse::<Location>().unwrap();
        assert!(!at("s3://b/t/blue").overlaps(&at("s3://b/t/blue-2")));
        assert!(at("s3://b/t").overlaps(&at("s3://b/t/blue")));
        assert!(at("s3://b/t/blue").overlaps(&at("s3://b/t/")));
        assert!(!at("s3://b/t").overlaps(&at("s3://c/t")));
    }
}

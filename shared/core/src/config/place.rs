//! The location of `datasets.toml`.

use std::path::PathBuf;

use crate::{error::Result, layout::Key};

/// The location of `datasets.toml`, as set in the environment variable `DATASETS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    S3(Key),
    Disk(PathBuf),
}

impl Place {
    pub fn parse(text: &str) -> Result<Place> {
        if text.starts_with("s3://") { Ok(Place::S3(text.parse()?)) } else { Ok(Place::Disk(text.into())) }
    }
}

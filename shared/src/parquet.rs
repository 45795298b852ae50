//! Batches → objects → manifest entries.

use std::sync::Arc;

use crate::{
    config,
    error::{Error, Result},
    manifest::File,
    name::Location,
    port::Objects,
    source::Opened,
};

/// Writes every row of the source under the location, as Parquet files of about the configured size.
pub async fn write(
    _objects: &Arc<dyn Objects>,
    _location: &Location,
    _opened: Opened,
    _sizes: config::Parquet,
) -> Result<Vec<File>> {
    Err(Error::unavailable("not there yet"))
}

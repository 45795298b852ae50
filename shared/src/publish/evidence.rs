//! Collects the evidence for an audit: the objects under a location, and their Parquet footers.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::statistics;
use turntable_core::layout::is_hidden;
use turntable_core::{
    audit::{self, Footer, Object, Statistics, exact_objects},
    error::{Error, Result},
    layout::Key,
    manifest::{File, Manifest},
    port::Objects,
};
use turntable_parquet::{columns_of, read_footer};

/// The objects and footers under a candidate's location.
pub struct Found {
    pub objects: Vec<Object>,
    pub footers: Vec<Footer>,
}

/// The maximum number of footers that are read concurrently.
const MAX_CONCURRENT_FOOTERS: usize = 16;

/// Lists the objects under a manifest's location, and reads the footer of each file. Makes one listing, and one or two
/// ranged reads per file.
///
/// Reads no footers if the objects aren't exactly those in the manifest.
pub async fn gather(objects: &Arc<dyn Objects>, manifest: &Manifest) -> Result<Found> {
    let location = &manifest.location;
    let found = self::objects(objects, manifest).await?;
    if !exact_objects(manifest, &found).is_empty() {
        return Ok(Found { objects: found, footers: Vec::new() });
    }
    let read = |file: &File| {
        let partitions = audit::of_folders(&manifest.partitions, &file.key);
        footer(objects.clone(), location.key(&file.key), file.clone(), partitions)
    };
    let read: Vec<_> = manifest.files.iter().map(read).collect();
    let footers = stream::iter(read).buffered(MAX_CONCURRENT_FOOTERS).try_collect().await?;
    Ok(Found { objects: found, footers })
}

/// Lists the objects under a manifest's location, except those that Athena ignores.
pub async fn objects(objects: &Arc<dyn Objects>, manifest: &Manifest) -> Result<Vec<Object>> {
    let location = &manifest.location;
    let listed = objects.list(location, None).await?;
    Ok(listed
        .into_iter()
        .map(|entry| Object {
            key: entry.key.key[location.prefix.len()..].to_owned(),
            bytes: entry.size,
            etag: entry.etag,
        })
        // Spark leaves a `_SUCCESS` object, and Hadoop leaves empty objects as folder markers.
        .filter(|object| !is_hidden(&object.key))
        .collect())
}

async fn footer(objects: Arc<dyn Objects>, at: Key, file: File, partitions: Vec<Statistics>) -> Result<Footer> {
    let footer = read_footer(objects.as_ref(), &at, &file.etag, file.bytes).await?;
    let rows = u64::try_from(footer.file_metadata().num_rows()).map_err(|_| {
        Error::corrupt(format!(
            "{at}: its Parquet footer has a negative number of rows: run the export or refresh again"
        ))
    })?;
    let columns = columns_of(&at, &footer)?;
    let statistics = statistics::of(&columns, &footer);
    Ok(Footer { key: file.key, rows, columns, statistics, partitions })
}

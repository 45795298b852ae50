//! Fetches what an audit judges: the objects under a location, and their footers.

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

pub struct Found {
    pub objects: Vec<Object>,
    pub footers: Vec<Footer>,
}

/// Footers that are read at the same time.
const AT_ONCE: usize = 16;

/// One listing, and one ranged read a file. No footer is read where the objects are not the manifest's.
pub async fn gather(objects: &Arc<dyn Objects>, manifest: &Manifest) -> Result<Found> {
    let location = &manifest.location;
    let listed = objects.list(location, None).await?;
    let found: Vec<Object> = listed
        .into_iter()
        .map(|entry| Object {
            key: entry.key.key[location.prefix.len()..].to_owned(),
            bytes: entry.size,
            etag: entry.etag,
        })
        // Spark leaves `_SUCCESS`, and Hadoop empty folders.
        .filter(|object| !is_hidden(&object.key))
        .collect();
    if !exact_objects(manifest, &found).is_empty() {
        return Ok(Found { objects: found, footers: Vec::new() });
    }
    let read = |file: &File| {
        let partitions = audit::of_folders(&manifest.partitions, &file.key);
        footer(objects.clone(), location.key(&file.key), file.clone(), partitions)
    };
    let read: Vec<_> = manifest.files.iter().map(read).collect();
    let footers = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    Ok(Found { objects: found, footers })
}

async fn footer(objects: Arc<dyn Objects>, at: Key, file: File, partitions: Vec<Statistics>) -> Result<Footer> {
    let footer = read_footer(objects.as_ref(), &at, &file.etag, file.bytes).await?;
    let rows = u64::try_from(footer.file_metadata().num_rows())
        .map_err(|_| Error::corrupt(format!("{at}: its footer says a negative number of rows")))?;
    let columns = columns_of(&at, &footer)?;
    let statistics = statistics::of(&columns, &footer);
    Ok(Footer { key: file.key, rows, columns, statistics, partitions })
}

//! Reads one drop in any format, or batches from another table.

use std::sync::Arc;

use ::parquet::arrow::async_reader::AsyncFileReader;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use tokio::task::spawn_blocking;

use super::{
    csv,
    pages::Parts,
    parquet::{self, Drop, MAX_FOOTER_BYTES},
    reader::{ParsedDrop, Reader},
    record::MAX_RECORDS,
    rows::Rows,
    text,
};
use crate::files::{
    self,
    decode::{forward_to_thread, panicked, stream_lazily},
    input,
    object::{COMPRESSED, Compression, Object, format_by_name},
};
use turntable_core::{
    config::Format,
    error::{Error, Result},
    layout::Entry,
    port::Objects,
};
use turntable_parquet::Batches;

/// The maximum size of a Parquet file that is fetched with one request, in bytes. Larger files are read one row group
/// at a time.
const MAX_SINGLE_REQUEST_BYTES: u64 = 4 << 20;

/// Reads a drop. The extension of its key determines the format.
pub async fn read(objects: &Arc<dyn Objects>, reader: &Reader, entry: Entry) -> Result<ParsedDrop> {
    let (format, compression) = format_by_name(&entry.key.key);
    let object = Object::new(entry, compression);
    let reader = reader.clone();
    let thread = match format {
        Some(Format::Parquet) if compression != Compression::None => {
            return Err(Error::input(format!(
                "{object}: a Parquet file must not be compressed again: decompress it and upload it without {COMPRESSED}"
            )));
        }
        Some(Format::Parquet) if object.entry.size <= MAX_SINGLE_REQUEST_BYTES => {
            let bytes = fetch(objects, &object.entry).await?;
            let damaged = Error::input(format!(
                "{object} is damaged, because the Parquet reader panicked on it: replace the file"
            ));
            let thread = spawn_blocking(move || parquet::file(&object.entry.key, bytes, &reader));
            // The parquet crate panics on some damaged pages.
            return thread.await.unwrap_or(Err(damaged));
        }
        Some(Format::Parquet) => tokio::spawn(by_ranges(objects.clone(), object, reader)),
        Some(format) => {
            let arriving = forward_to_thread(&object, stream_lazily(objects.clone(), object.clone()));
            spawn_blocking(move || {
                let input = input::open(&object, arriving, text::MAX_ZSTD_WINDOW_LOG)?;
                match format {
                    Format::Csv => csv::csv(&object, input, &reader),
                    _ => text::ndjson(&object, input, &reader),
                }
            })
        }
        None => {
            return Err(Error::input(format!(
                "{object}: unknown file extension: expected .csv, .ndjson, .jsonl, .json (each also with {COMPRESSED}) \
                 or .parquet"
            )));
        }
    };
    thread.await.unwrap_or_else(|error| Err(panicked(error)))
}

async fn fetch(objects: &Arc<dyn Objects>, entry: &Entry) -> Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(usize::try_from(entry.size).unwrap_or(0).min(1 << 30));
    let mut chunks = objects.stream(&entry.key, &entry.etag).await?;
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Reads a Parquet file with range requests: the footer, then the columns that a record needs, one row group at a time.
async fn by_ranges(objects: Arc<dyn Objects>, object: Object, reader: Reader) -> Result<ParsedDrop> {
    let mut file = files::parquet::Reader::new(objects, object.clone());
    let fault = |error| files::parquet::fault(&object, error);
    files::parquet::guarded(&object, async {
        let size = object.entry.size;
        let tail = file.get_bytes(size.saturating_sub(MAX_FOOTER_BYTES)..size).await.map_err(fault)?;
        let drop = Drop::open(&object.entry.key, &tail, size, &reader)?;
        let mut rows = Rows::new(&reader, MAX_RECORDS);
        for group in 0..drop.groups() {
            let ranges = drop.ranges(group)?;
            let places: Vec<u64> = ranges.iter().map(|range| range.start).collect();
            let bytes = file.get_byte_ranges(ranges).await.map_err(fault)?;
            drop.read(group, Parts::new(places.into_iter().zip(bytes).collect()), &mut rows)?;
        }
        rows.finish()
    })
    .await
}

/// Reads the records from the batches of another table, which must have the columns of a drop. The line of a reject is
/// its row number across all batches. `what` names the table in error messages.
pub async fn records(what: &str, mut batches: Batches, reader: &Reader) -> Result<ParsedDrop> {
    let mut rows = Rows::new(reader, u64::MAX);
    while let Some(batch) = batches.try_next().await? {
        rows.push(what, &batch)?;
    }
    rows.finish()
}

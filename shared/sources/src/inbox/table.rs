//! One object → what it says, on a thread that may block.

use std::sync::Arc;

use ::parquet::arrow::async_reader::AsyncFileReader;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use tokio::task::spawn_blocking;

use super::{
    Reader, Said,
    pages::Parts,
    parquet::{self, Drop, FOOTER},
    record::MOST,
    rows::Rows,
    text,
};
use crate::files::{
    self,
    decode::{arriving, later, panicked},
    input,
    object::{Compression, Object, told_by_name},
};
use turntable_core::{
    config::Format,
    error::{Error, Result},
    layout::Entry,
    port::Objects,
};
use turntable_parquet::Batches;

/// Bytes of a Parquet file that is fetched with one request. A larger one is read row group by row group.
const SMALL: u64 = 4 << 20;

pub async fn read(objects: &Arc<dyn Objects>, reader: &Reader, entry: Entry) -> Result<Said> {
    let (format, compression) = told_by_name(&entry.key.key);
    let object = Object { entry, compression };
    let reader = reader.clone();
    let thread = match format {
        Some(Format::Parquet) if compression != Compression::None => {
            return Err(Error::input(format!("{object}: Parquet compresses itself; put it without .gz or .zst")));
        }
        Some(Format::Parquet) if object.entry.size <= SMALL => {
            let bytes = whole(objects, &object.entry).await?;
            let damaged = Error::input(format!("{object} is damaged: the Parquet reader gave up"));
            let thread = spawn_blocking(move || parquet::file(&object.entry.key, bytes, &reader));
            // The parquet crate panics on some damaged pages.
            return thread.await.unwrap_or(Err(damaged));
        }
        Some(Format::Parquet) => tokio::spawn(by_ranges(objects.clone(), object, reader)),
        Some(format) => {
            let arriving = arriving(&object, later(objects.clone(), object.clone()));
            spawn_blocking(move || {
                let input = input::open(&object, arriving, text::WINDOW)?;
                match format {
                    Format::Csv => text::csv(&object, input, &reader),
                    _ => text::ndjson(&object, input, &reader),
                }
            })
        }
        None => {
            return Err(Error::input(format!(
                "{object}: the name tells no format: expected .csv, .ndjson, .jsonl, .json (each also with .gz or .zst) \
                 or .parquet"
            )));
        }
    };
    thread.await.unwrap_or_else(|error| Err(panicked(error)))
}

async fn whole(objects: &Arc<dyn Objects>, entry: &Entry) -> Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(usize::try_from(entry.size).unwrap_or(0).min(1 << 30));
    let mut chunks = objects.stream(&entry.key, &entry.etag).await?;
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// The footer of a Parquet file, then the columns of a record of one row group after the other.
async fn by_ranges(objects: Arc<dyn Objects>, object: Object, reader: Reader) -> Result<Said> {
    let mut file = files::parquet::Reader { objects, object: object.clone() };
    let fault = |error| files::parquet::fault(&object, error);
    files::parquet::guarded(&object, async {
        let size = object.entry.size;
        let tail = file.get_bytes(size.saturating_sub(FOOTER)..size).await.map_err(fault)?;
        let drop = Drop::open(&object.entry.key, &tail, size, &reader)?;
        let mut rows = Rows::new(&reader, MOST);
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

/// What another table says, of the same columns. The number of a reject is that of its row in all batches.
pub async fn records(what: &str, mut batches: Batches, reader: &Reader) -> Result<Said> {
    let mut rows = Rows::new(reader, u64::MAX);
    while let Some(batch) = batches.try_next().await? {
        rows.push(what, &batch)?;
    }
    rows.finish()
}

//! One object → what it says, on a thread that may block.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use tokio::task::spawn_blocking;

use super::{
    Reader, Said, parquet,
    record::{MOST, Records},
    text,
};
use crate::{
    config::Format,
    error::{Error, Result},
    name::Entry,
    port::Objects,
    source::{
        Batches,
        files::{
            self,
            decode::{arriving, later, panicked},
            input,
            object::{Compression, Object, told_by_name},
        },
    },
};

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
        Some(Format::Parquet) => {
            let names: Vec<String> = Records::names(&reader.key).into_iter().map(str::to_owned).collect();
            let wanted = move |name: &str| names.iter().any(|known| name.eq_ignore_ascii_case(known));
            let batches = files::parquet::wanted(objects.clone(), object.clone(), wanted);
            tokio::spawn(async move { limited(&object.to_string(), batches, &reader, MOST).await })
        }
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

/// What another table says, of the same columns. The number of a reject is that of its row in all batches.
pub async fn records(what: &str, batches: Batches, reader: &Reader) -> Result<Said> {
    limited(what, batches, reader, u64::MAX).await
}

async fn limited(what: &str, mut batches: Batches, reader: &Reader, most: u64) -> Result<Said> {
    let mut rows = parquet::Rows::new(reader, most);
    while let Some(batch) = batches.try_next().await? {
        rows.push(what, &batch)?;
    }
    rows.finish()
}

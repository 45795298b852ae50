//! One object → what it says, on a thread that may block.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use tokio::task::spawn_blocking;

use super::{Reader, Said, parquet, text};
use crate::{
    config::Format,
    error::{Error, Result},
    port::{Entry, Objects},
    source::{
        Batches,
        files::{
            decode::{arriving, later, panicked},
            input,
            listing::{Compression, Object, told_by_name},
        },
    },
};

pub async fn read(objects: &Arc<dyn Objects>, reader: &Reader, entry: Entry) -> Result<Said> {
    let (format, compression) = told_by_name(&entry.key.key);
    let object = Object { entry, compression };
    let reader = reader.clone();
    let thread = match format {
        Some(Format::Parquet) if compression != Compression::None => {
            return Err(Error::input(format!("{object}: Parquet compresses itself; put it without .gz or .zst")));
        }
        Some(Format::Parquet) => {
            let bytes = whole(objects, &object.entry).await?;
            spawn_blocking(move || parquet::file(&object.entry.key, bytes, &reader))
        }
        Some(format) => {
            let arriving = arriving(&object, later(objects.clone(), object.clone()));
            spawn_blocking(move || {
                let input = input::open(&object, arriving)?;
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
pub async fn records(what: &str, mut batches: Batches, reader: &Reader) -> Result<Said> {
    let mut rows = parquet::Rows::new(reader);
    while let Some(batch) = batches.try_next().await? {
        rows.push(what, &batch)?;
    }
    Ok(rows.finish())
}

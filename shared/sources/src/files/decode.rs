//! Decodes CSV and NDJSON objects into batches on blocking threads, while the objects download.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::{JoinError, JoinHandle, spawn_blocking},
};

use super::{
    csv,
    infer::{self, Sample},
    input::{self, Arriving},
    ndjson,
    object::Object,
    row::{Rows, Stop},
};
use crate::unrepresentable::Unrepresentable;
use turntable_core::{
    config::{Csv, Nested},
    error::{Error, Result},
    manifest::TypedBy,
    port::{Chunks, Objects},
};
use turntable_parquet::Batches;

#[derive(Debug, Clone)]
pub enum Text {
    Csv(Csv),
    /// With the type to infer for objects within a record.
    Ndjson(Nested),
}

/// The format of an object's text, and the columns to decode it into.
#[derive(Clone)]
pub struct Target {
    pub text: Text,
    pub schema: SchemaRef,
    pub typed_by: TypedBy,
    pub unrepresentable: Arc<Unrepresentable>,
}

/// The maximum size of an object that is prefetched, in bytes. It is downloaded whole while earlier objects are
/// decoded. Without prefetching, the latencies of many small objects would add up.
const PREFETCH_MAX_BYTES: u64 = 1 << 20;
/// The maximum number of objects that are prefetched at the same time.
const MAX_CONCURRENT_PREFETCHES: usize = 8;

/// Returns the rows in the objects, one object after another.
pub fn batches(objects: Arc<dyn Objects>, list: Vec<Object>, target: Target) -> Batches {
    stream::iter(list)
        .map(move |object| fetch(objects.clone(), object))
        .buffered(MAX_CONCURRENT_PREFETCHES)
        .map_ok(move |(object, chunks)| decode_object(object, chunks, target.clone()))
        .try_flatten()
        .boxed()
}

async fn fetch(objects: Arc<dyn Objects>, object: Object) -> Result<(Object, Chunks)> {
    if object.entry.size <= PREFETCH_MAX_BYTES {
        let chunks: Vec<Bytes> = objects.stream(&object.entry.key, &object.entry.etag).await?.try_collect().await?;
        return Ok((object, stream::iter(chunks).map(Ok).boxed()));
    }
    Ok((object.clone(), stream_lazily(objects, object)))
}

/// Returns the object's bytes. The request is sent on the first poll, because S3 closes idle connections.
pub fn stream_lazily(objects: Arc<dyn Objects>, object: Object) -> Chunks {
    let open = async move { objects.stream(&object.entry.key, &object.entry.etag).await };
    stream::once(open).try_flatten().boxed()
}

fn decode_object(object: Object, chunks: Chunks, target: Target) -> Batches {
    let start = async move {
        let (to, batches) = mpsc::channel(2);
        let arriving = forward_to_thread(&object, chunks);
        let thread = spawn_blocking(move || {
            let name = object.to_string();
            let mut rows = Rows::new(&target.schema, target.typed_by, target.unrepresentable, to)
                .map_err(|fault| Error::config(format!("{name}: {fault}")))?;
            rows.set_folders(&object.folders);
            let decoded =
                input::open(&object, arriving, input::MAX_ZSTD_WINDOW_LOG).map_err(Stop::Error).and_then(|input| {
                    match &target.text {
                        Text::Csv(options) => csv::decode(&object, input, options, target.typed_by, &mut rows)?,
                        Text::Ndjson(_) => ndjson::decode(&object, input, &mut rows)?,
                    }
                    Ok(rows.flush()?)
                });
            match decoded {
                Err(Stop::Error(error)) => Err(error),
                Ok(()) | Err(Stop::Gone) => Ok(()),
            }
        });
        with_task_error(batches, thread)
    };
    stream::once(start).flatten().boxed()
}

/// Returns the batches and, if the task that sends them failed, its error at the end. Without that error, the batches
/// from a failed task would look complete.
pub fn with_task_error(
    batches: Receiver<RecordBatch>,
    task: JoinHandle<Result<()>>,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    stream::unfold((batches, Some(task)), |(mut batches, task)| async move {
        if let Some(batch) = batches.recv().await {
            return Some((Ok(batch), (batches, task)));
        }
        let error = task?.await.unwrap_or_else(|error| Err(panicked(error))).err()?;
        Some((Err(error), (batches, None)))
    })
}

/// Forwards the chunks to a channel that a blocking thread can read from.
pub fn forward_to_thread(object: &Object, mut chunks: Chunks) -> Arriving {
    let (to, from): (Sender<Result<Bytes>>, Receiver<_>) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(chunk) = chunks.next().await {
            if to.send(chunk).await.is_err() {
                break;
            }
        }
    });
    Arriving::new(object, from)
}

/// Returns the error for a panic in a decoding task.
pub fn panicked(error: JoinError) -> Error {
    Error::corrupt("the reader of one of the source's files panicked: this is a bug, please report it").caused_by(error)
}

/// The maximum number of objects that type inference reads. It continues with the next object only while it has fewer
/// than [`infer::MAX_SAMPLED_RECORDS`] records.
const MAX_SAMPLED_OBJECTS: usize = 32;

/// Reads the first records of the first objects for type inference.
pub async fn sample(objects: &Arc<dyn Objects>, list: &[Object], text: &Text) -> Result<Sample> {
    let mut sample = Sample::default();
    for object in list.iter().filter(|object| object.entry.size > 0).take(MAX_SAMPLED_OBJECTS) {
        if sample.records >= infer::MAX_SAMPLED_RECORDS {
            break;
        }
        let (object, text) = (object.clone(), text.clone());
        let arriving = forward_to_thread(&object, stream_lazily(objects.clone(), object.clone()));
        let thread = spawn_blocking(move || {
            let input = input::open(&object, arriving, input::MAX_ZSTD_WINDOW_LOG)?;
            match &text {
                Text::Csv(options) => csv::sample(&object, input, options, &mut sample),
                Text::Ndjson(nested) => ndjson::sample(&object, input, *nested, &mut sample),
            }?;
            Ok(sample)
        });
        sample = thread.await.unwrap_or_else(|error| Err(panicked(error)))?;
    }
    Ok(sample)
}

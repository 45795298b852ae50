//! Objects of text → batches, on threads that may block; objects arrive and are decoded at the same time.

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
    config::Csv,
    error::{Error, Result},
    manifest::TypedBy,
    port::{Chunks, Objects},
};
use turntable_parquet::Batches;

#[derive(Debug, Clone)]
pub enum Text {
    Csv(Csv),
    Ndjson,
}

/// What a text is decoded to.
#[derive(Clone)]
pub struct Target {
    pub text: Text,
    pub schema: SchemaRef,
    pub typed_by: TypedBy,
    pub unrepresentable: Arc<Unrepresentable>,
}

/// Objects up to this size, in bytes, are fetched before their turn, so many at once: their latency would add up.
const SMALL: u64 = 1 << 20;
const AHEAD: usize = 8;

/// The rows of the objects, one object after the other.
pub fn batches(objects: Arc<dyn Objects>, list: Vec<Object>, target: Target) -> Batches {
    stream::iter(list)
        .map(move |object| fetch(objects.clone(), object))
        .buffered(AHEAD)
        .map_ok(move |(object, chunks)| of_object(object, chunks, target.clone()))
        .try_flatten()
        .boxed()
}

async fn fetch(objects: Arc<dyn Objects>, object: Object) -> Result<(Object, Chunks)> {
    if object.entry.size <= SMALL {
        let chunks: Vec<Bytes> = objects.stream(&object.entry.key, &object.entry.etag).await?.try_collect().await?;
        return Ok((object, stream::iter(chunks).map(Ok).boxed()));
    }
    Ok((object.clone(), later(objects, object)))
}

/// Asked for when its turn comes: an open connection does not wait for long.
pub fn later(objects: Arc<dyn Objects>, object: Object) -> Chunks {
    let open = async move { objects.stream(&object.entry.key, &object.entry.etag).await };
    stream::once(open).try_flatten().boxed()
}

fn of_object(object: Object, chunks: Chunks, target: Target) -> Batches {
    let start = async move {
        let (to, batches) = mpsc::channel(2);
        let arriving = arriving(&object, chunks);
        let thread = spawn_blocking(move || {
            let name = object.to_string();
            let mut rows = Rows::new(&target.schema, target.typed_by, target.unrepresentable, to)
                .map_err(|fault| Error::config(format!("{name}: {fault}")))?;
            let decoded = input::open(&object, arriving, input::WINDOW).map_err(Stop::Error).and_then(|input| {
                match &target.text {
                    Text::Csv(options) => csv::decode(&object, input, options, target.typed_by, &mut rows)?,
                    Text::Ndjson => ndjson::decode(&object, input, &mut rows)?,
                }
                Ok(rows.flush()?)
            });
            match decoded {
                Err(Stop::Error(error)) => Err(error),
                Ok(()) | Err(Stop::Gone) => Ok(()),
            }
        });
        until_done(batches, thread)
    };
    stream::once(start).flatten().boxed()
}

/// The batches, and then the error of the task that sends them: their end is the end of the rows only if it says so.
pub fn until_done(
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

/// Moves the chunks to where a thread can wait for them.
pub fn arriving(object: &Object, mut chunks: Chunks) -> Arriving {
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

pub fn panicked(error: JoinError) -> Error {
    Error::corrupt("a reader of files panicked; run again, and report it if it comes again").caused_by(error)
}

/// How many objects are looked at at most, one after the other, if they hold few records.
const SAMPLED: usize = 32;

/// Looks at the first records of the first objects.
pub async fn sample(objects: &Arc<dyn Objects>, list: &[Object], text: &Text) -> Result<Sample> {
    let mut sample = Sample::default();
    for object in list.iter().filter(|object| object.entry.size > 0).take(SAMPLED) {
        if sample.records >= infer::RECORDS {
            break;
        }
        let (object, text) = (object.clone(), text.clone());
        let arriving = arriving(&object, later(objects.clone(), object.clone()));
        let thread = spawn_blocking(move || {
            let input = input::open(&object, arriving, input::WINDOW)?;
            match &text {
                Text::Csv(options) => csv::sample(&object, input, options, &mut sample),
                Text::Ndjson => ndjson::sample(&object, input, &mut sample),
            }?;
            Ok(sample)
        });
        sample = thread.await.unwrap_or_else(|error| Err(panicked(error)))?;
    }
    Ok(sample)
}

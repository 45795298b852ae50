//! Writes record batches as Parquet objects, and returns their manifest entries.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    thread::available_parallelism,
};

use arrow_array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use turntable_core::{
    config,
    error::{Error, Result},
    layout::Location,
    manifest::File,
    port::Objects,
};

use crate::{
    encode::Encoder,
    file::Open,
    output::Output,
    progress::Progress,
    properties::{properties, with_long_pages},
    rows::{Batches, Passthrough, Rows, check_schema},
    target::Target,
};

/// The maximum total size, in bytes, of the row groups that are being built at the same time. With more streams, each
/// row group is smaller, so memory doesn't grow with the number of streams.
const MAX_OPEN_ROW_GROUP_BYTES: u64 = 128 << 20;

/// The maximum number of rows in a row group. Without it, a row group whose rows compress to almost nothing would get
/// any number of pages, and each page has an entry in memory.
const MAX_ROW_GROUP_ROWS: u64 = 10_000_000;

/// The number of rows at which a chunk is complete. A chunk is encoded in one step. It is large enough to keep all
/// threads busy, and small enough to take little memory.
const CHUNK_ROWS: usize = 1 << 16;
/// The in-memory size, in bytes, at which a chunk is complete, unless a quarter of `row_group_size` is smaller.
const CHUNK_BYTES: usize = 4 << 20;

/// Writes every row from the source under the location, and returns the files sorted by key. Files take about
/// `file_size` bytes and row groups about `row_group_size` bytes, both encoded and compressed.
///
/// For a source without rows, writes one file with the schema and no rows, so that readers of the location find the
/// schema.
///
/// If a stream fails, the others are stopped and no upload is left unfinished. Finished objects stay, but no manifest
/// names them, so `sweep` deletes them.
pub async fn write(
    objects: &Arc<dyn Objects>,
    location: &Location,
    rows: Rows,
    sizes: config::Parquet,
) -> Result<Vec<File>> {
    match write_until(pending(), objects, location, rows, sizes).await? {
        Written::All(files) => Ok(files),
        Written::Stopped(_) => Err(Error::corrupt(format!(
            "{location}: writing stopped without a stop signal: this is a bug, please report it"
        ))),
    }
}

/// The outcome of [`write_until`].
pub enum Written {
    All(Vec<File>),
    /// The stop signal came before all rows were written. No upload is left unfinished.
    Stopped(Progress),
}

/// Does the same as [`fn@write`], but gives up as soon as `stop` is ready.
pub async fn write_until(
    stop: impl Future<Output = ()>,
    objects: &Arc<dyn Objects>,
    location: &Location,
    rows: Rows,
    sizes: config::Parquet,
) -> Result<Written> {
    let Rows { schema, copies, streams } = rows;
    let count = streams.len().max(1);
    let sizes = config::Parquet {
        row_group_size: sizes.row_group_size.min(sizes.file_size).min(MAX_OPEN_ROW_GROUP_BYTES / count as u64),
        ..sizes
    };
    let properties = with_long_pages(properties(sizes.compression_level)?, &schema, sizes.row_group_size);
    let threads = available_parallelism().map_or(1, |cores| cores.get() / count).max(1);
    let target = Arc::new(Target::new(objects.clone(), location.clone(), schema, properties, sizes)?);

    let mut running = JoinSet::new();
    if !copies.is_empty() {
        running.spawn(copy_files(target.clone(), copies));
    }
    for batches in streams {
        running.spawn(write_stream(target.clone(), batches, threads));
    }
    let mut files = Vec::new();
    let (mut first, mut is_stopped, mut gave_up) = (None, false, false);
    let mut stop = pin!(stop);
    loop {
        let ended = tokio::select! {
            biased;
            () = &mut stop, if !is_stopped => {
                is_stopped = true;
                target.stop();
                continue;
            }
            ended = running.join_next() => ended,
        };
        let Some(ended) = ended else { break };
        match ended.unwrap_or_else(|panic| Err(GaveUp::Failed(target.panicked(panic)))) {
            Ok(more) => files.extend(more),
            Err(why) => {
                target.stop();
                gave_up = true;
                first = first.or(why.error());
            }
        }
    }
    match first {
        Some(error) => Err(error),
        None if gave_up => Ok(Written::Stopped(target.progress())),
        None if files.is_empty() => {
            let file = Open::new(&target, target.next_name()).await?;
            Ok(Written::All(vec![file.finish(&target).await?]))
        }
        None => {
            files.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(Written::All(files))
        }
    }
}

/// Why writing ended before all rows were written.
enum GaveUp {
    /// Writing was stopped, for example because another stream failed.
    Stopped,
    Failed(Error),
}

impl GaveUp {
    fn error(self) -> Option<Error> {
        match self {
            GaveUp::Stopped => None,
            GaveUp::Failed(error) => Some(error),
        }
    }
}

/// The maximum number of objects that S3 copies at the same time.
const MAX_CONCURRENT_COPIES: usize = 8;

/// Copies the passthrough objects.
async fn copy_files(target: Arc<Target>, copies: Vec<Passthrough>) -> Result<Vec<File>, GaveUp> {
    let all = stream::iter(copies).map(|copy| target.copy(copy)).buffer_unordered(MAX_CONCURRENT_COPIES).try_collect();
    let ended = tokio::select! {
        biased;
        () = target.stopped() => Err(GaveUp::Stopped),
        copied = all => copied.map_err(GaveUp::Failed),
    };
    if ended.is_err() {
        target.stop();
    }
    ended
}

/// Writes all rows of one stream.
async fn write_stream(target: Arc<Target>, batches: Batches, threads: usize) -> Result<Vec<File>, GaveUp> {
    let mut output = Output::new(target.clone());
    let ended = tokio::select! {
        biased;
        () = target.stopped() => Err(GaveUp::Stopped),
        // The stop signal may come while this is polled. A file then returns an error, which isn't this stream's own.
        filled = write_batches(&mut output, &target, batches, threads) => filled.map_err(|error| {
            if target.is_stopped() { GaveUp::Stopped } else { GaveUp::Failed(error) }
        }),
    };
    match ended {
        Ok(()) => Ok(output.into_files()),
        Err(error) => {
            target.stop();
            output.abort().await;
            Err(error)
        }
    }
}

async fn write_batches(output: &mut Output, target: &Target, batches: Batches, threads: usize) -> Result<()> {
    // The loop requests another chunk after the last one, but most streams must not be polled after their end.
    let mut batches = batches.fuse().boxed();
    let mut encoder = Encoder::new(target.columns.clone(), threads);
    let mut chunk = next_chunk(&mut batches, target).await?;
    while !chunk.is_empty() {
        let rows: usize = chunk.iter().map(RecordBatch::num_rows).sum();
        let encoding = target.blocking(move || {
            encoder.encode(&chunk)?;
            Ok(encoder)
        });
        let (encoded, next) = tokio::join!(encoding, next_chunk(&mut batches, target));
        (encoder, chunk) = (encoded?, next?);
        target.encoded(rows);
        if chunk.is_empty() || encoder.size() >= target.sizes.row_group_size || encoder.rows() >= MAX_ROW_GROUP_ROWS {
            let (kept, group) = target
                .blocking(move || {
                    let group = encoder.finish_row_group()?;
                    Ok((encoder, group))
                })
                .await?;
            encoder = kept;
            output.append(group).await?;
        }
        output.room_for(encoder.size()).await;
    }
    output.finish().await
}

/// Returns the next rows, or an empty chunk at the end of the stream. Fails if a batch doesn't have the schema's types.
async fn next_chunk(batches: &mut Batches, target: &Target) -> Result<Vec<RecordBatch>> {
    let schema = &target.columns.schema;
    let max_bytes = CHUNK_BYTES.min(target.sizes.row_group_size as usize / 4);
    let (mut chunk, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while rows < CHUNK_ROWS && (rows == 0 || bytes < max_bytes) {
        let Some(batch) = batches.next().await.transpose()? else { break };
        if batch.num_rows() == 0 {
            continue;
        }
        check_schema(&batch, schema, &target.location)?;
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        chunk.push(batch);
    }
    Ok(chunk)
}

#[cfg(test)]
mod tests;

//! Writes record batches as Parquet objects, and returns their manifest entries.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    thread::available_parallelism,
};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::{
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
};
use tokio::task::JoinSet;

use crate::{
    encode::Encoder,
    output::{Output, Target},
    rows::{Batches, Passthrough, Rows},
};
use turntable_core::{
    config,
    error::{Error, Result},
    layout::Location,
    manifest::File,
    port::Objects,
};

/// Bytes of all row groups that are being built at the same time. With more streams each row group is smaller, so
/// memory doesn't grow with the number of streams.
const MAX_OPEN_ROW_GROUP_BYTES: u64 = 128 << 20;

/// Rows of a row group. It bounds a row group that compresses to almost nothing, because each of its pages has an entry
/// in memory.
const MAX_ROW_GROUP_ROWS: u64 = 10_000_000;

/// Bytes of an unfinished page in memory. Long pages compress better.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// Rows and Arrow bytes that are encoded in one step: enough to keep all threads busy, and little memory.
const CHUNK_ROWS: usize = 1 << 16;
const CHUNK_BYTES: usize = 4 << 20;

/// Writes every row of the source under the location. Files have about `file_size` bytes and row groups about
/// `row_group_size` bytes, both encoded and compressed.
///
/// A source without rows gives one file with the schema and no rows, so that readers of the location find the schema.
/// Returns the files sorted by key.
///
/// When a stream fails, the others are stopped and no upload is left unfinished. Finished objects stay. No manifest
/// names them, so `sweep` deletes them.
pub async fn write(
    objects: &Arc<dyn Objects>,
    location: &Location,
    rows: Rows,
    sizes: config::Parquet,
) -> Result<Vec<File>> {
    match write_until(pending(), objects, location, rows, sizes).await? {
        Written::All(files) => Ok(files),
        Written::Stopped(_) => {
            Err(Error::corrupt(format!("{location}: writing stopped without a stop signal: this is a bug, report it")))
        }
    }
}

/// The result of [`write_until`].
pub enum Written {
    All(Vec<File>),
    /// The stop signal came first. No upload is left unfinished.
    Stopped(Progress),
}

/// Counts of the work done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Encoded rows.
    pub rows: u64,
    /// Bytes sent to S3.
    pub bytes: u64,
    /// Files begun.
    pub files: usize,
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
    let properties = with_long_pages(properties()?, &schema, sizes.row_group_size);
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
        match ended.unwrap_or_else(|panic| Err(Some(stopped(location, panic)))) {
            Ok(more) => files.extend(more),
            Err(error) => {
                target.stop();
                gave_up = true;
                first = first.or(error);
            }
        }
    }
    match first {
        Some(error) => Err(error),
        None if gave_up => Ok(Written::Stopped(target.progress())),
        None if files.is_empty() => Ok(Written::All(vec![target.empty_file().await?])),
        None => {
            files.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(Written::All(files))
        }
    }
}

/// Objects that S3 copies at the same time.
const MAX_CONCURRENT_COPIES: usize = 8;

/// Copies the passthrough objects. Returns `Err(None)` if writing was stopped, as [`write_stream`] does.
async fn copy_files(target: Arc<Target>, copies: Vec<Passthrough>) -> Result<Vec<File>, Option<Error>> {
    let all = stream::iter(copies).map(|copy| target.copy(copy)).buffer_unordered(MAX_CONCURRENT_COPIES).try_collect();
    let ended = tokio::select! {
        biased;
        () = target.stopped() => Err(None),
        copied = all => copied.map_err(Some),
    };
    if ended.is_err() {
        target.stop();
    }
    ended
}

/// Writes all rows of one stream. Returns `Err(None)` if it gave up because writing was stopped, for example by the
/// failure of another stream.
async fn write_stream(target: Arc<Target>, batches: Batches, threads: usize) -> Result<Vec<File>, Option<Error>> {
    let mut output = Output::new(target.clone());
    let ended = tokio::select! {
        biased;
        () = target.stopped() => Err(None),
        filled = write_batches(&mut output, &target, batches, threads) => filled.map_err(Some),
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
    // The loop asks for another chunk after the last one, and most streams must not be polled after their end.
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

/// Returns the next rows, or an empty chunk at the end of the stream. Checks that each batch has the schema.
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

pub(crate) fn check_schema(batch: &RecordBatch, schema: &SchemaRef, location: &Location) -> Result<()> {
    let types = |schema: &SchemaRef| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
    if Arc::ptr_eq(batch.schema_ref(), schema) || types(batch.schema_ref()) == types(schema) {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "{location}: the source returned rows that don't match its schema: this is a bug, report it with the source's \
         columns"
    )))
}

/// Returns properties for files that Athena reads reliably: format version 1 with its data pages, ZSTD, dictionaries,
/// and statistics of every page and column chunk. The footer has no Arrow schema, because readers, including the audit,
/// must use Parquet's own.
pub(crate) fn properties() -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(1).map_err(|error| Error::config("invalid ZSTD level").caused_by(error))?;
    Ok(WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        // Names lists `list.element` and maps `key_value.key` and `.value`, whatever the Arrow fields are called.
        .set_coerce_types(true)
        // Java readers ignore the statistics of a writer whose version they can't parse.
        .set_created_by(concat!("turntable version ", env!("CARGO_PKG_VERSION")).to_owned())
        .build())
}

/// Sets long pages, for writers with few open files. All unfinished pages together take at most half a row group of
/// memory, however many columns there are. A row takes eight bytes there until its dictionary index is packed.
fn with_long_pages(properties: WriterProperties, schema: &SchemaRef, row_group_size: u64) -> WriterProperties {
    let columns = schema.flattened_fields().len().max(1);
    let page = (row_group_size as usize / 2 / columns).clamp(8 << 10, MAX_PAGE_BYTES);
    properties.into_builder().set_data_page_size_limit(page).set_data_page_row_count_limit(page / 8).build()
}

pub(crate) fn stopped(location: &Location, error: tokio::task::JoinError) -> Error {
    Error::corrupt(format!("{location}: a writer thread panicked: this is a bug, report it")).caused_by(error)
}

#[cfg(test)]
mod tests;

//! Rows → objects → manifest entries.

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
    rows::{Batches, Copy, Rows},
};
use turntable_core::{
    config,
    error::{Error, Result},
    layout::Location,
    manifest::File,
    port::Objects,
};

/// Bytes: all row groups that are being built at the same time. More streams make smaller ones, so that memory does not
/// grow with their number.
const ROW_GROUPS: u64 = 128 << 20;

/// Rows: a row group that compresses to nothing ends all the same, because each of its pages has an entry in memory.
const ROW_GROUP_ROWS: u64 = 10_000_000;

/// Bytes that a page has in memory until it ends: long ones compress better.
const PAGE: usize = 1 << 20;

/// What is encoded in one go: enough to keep all threads busy, and little in memory. Rows and bytes in Arrow.
const CHUNK_ROWS: usize = 1 << 16;
const CHUNK_BYTES: usize = 4 << 20;

/// Writes every row of the source under the location, as files of about `file_size` with row groups of about
/// `row_group_size`: bytes as they are in the file, encoded and compressed. A source without rows gives one file with the
/// schema and no rows, which proves the schema to whoever reads the location. Entries are in the order of their names.
///
/// On the first failure of a stream the others are stopped and no upload is left unfinished; finished objects stay, for
/// `sweep`, since no manifest will name them.
pub async fn write(
    objects: &Arc<dyn Objects>,
    location: &Location,
    rows: Rows,
    sizes: config::Parquet,
) -> Result<Vec<File>> {
    match write_until(pending(), objects, location, rows, sizes).await? {
        Written::All(files) => Ok(files),
        Written::Stopped(_) => Err(Error::corrupt(format!("{location}: writing was stopped by nobody: report this"))),
    }
}

/// What has become of the rows.
pub enum Written {
    All(Vec<File>),
    /// The time was up first. No upload is left unfinished.
    Stopped(Progress),
}

/// How far writing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Encoded.
    pub rows: u64,
    /// Sent to S3.
    pub bytes: u64,
    /// Begun.
    pub files: usize,
}

/// As [`fn@write`], but gives up as soon as `stop` is there.
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
        row_group_size: sizes.row_group_size.min(sizes.file_size).min(ROW_GROUPS / count as u64),
        ..sizes
    };
    let properties = with_long_pages(properties()?, &schema, sizes.row_group_size);
    let threads = available_parallelism().map_or(1, |cores| cores.get() / count).max(1);
    let target = Arc::new(Target::new(objects.clone(), location.clone(), schema, properties, sizes)?);

    let mut running = JoinSet::new();
    if !copies.is_empty() {
        running.spawn(copied(target.clone(), copies));
    }
    for batches in streams {
        running.spawn(written(target.clone(), batches, threads));
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

/// How many objects S3 is asked to copy at a time.
const COPIES: usize = 8;

/// Objects that are carried as they are. `Err(None)` as of [`written`].
async fn copied(target: Arc<Target>, copies: Vec<Copy>) -> Result<Vec<File>, Option<Error>> {
    let all = stream::iter(copies).map(|copy| target.copy(copy)).buffer_unordered(COPIES).try_collect();
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

/// All rows of one stream. `Err(None)`: another stream has failed, and this one has given up for that.
async fn written(target: Arc<Target>, batches: Batches, threads: usize) -> Result<Vec<File>, Option<Error>> {
    let mut output = Output::new(target.clone());
    let ended = tokio::select! {
        biased;
        () = target.stopped() => Err(None),
        filled = fill(&mut output, &target, batches, threads) => filled.map_err(Some),
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

async fn fill(output: &mut Output, target: &Target, batches: Batches, threads: usize) -> Result<()> {
    // The last chunk ends with the stream, and then the next one is asked for: most streams bear no poll after their end.
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
        if chunk.is_empty() || encoder.size() >= target.sizes.row_group_size || encoder.rows() >= ROW_GROUP_ROWS {
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

/// The next rows, checked to be of the schema; nothing when there are no more.
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
        "{location}: the source gave rows that are not of its schema: report this, with the source's columns"
    )))
}

/// What Athena reads without a doubt: format version 1 with its data pages, ZSTD, dictionaries, and statistics of every
/// page and column chunk. No Arrow schema in the footer: readers, the audit among them, shall go by Parquet's own.
pub(crate) fn properties() -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(1).map_err(|error| Error::config("no such ZSTD level").caused_by(error))?;
    Ok(WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        // Lists are `list.element` and maps `key_value.key` and `.value`, whatever Arrow's fields are called.
        .set_coerce_types(true)
        // Java readers distrust the statistics of a writer whose version they cannot parse.
        .set_created_by(concat!("turntable version ", env!("CARGO_PKG_VERSION")).to_owned())
        .build())
}

/// Where few files are open. All pages that have not ended are together at most half a row group in memory, however many
/// columns there are; a row takes eight bytes there until its index of a dictionary is packed.
fn with_long_pages(properties: WriterProperties, schema: &SchemaRef, row_group_size: u64) -> WriterProperties {
    let columns = schema.flattened_fields().len().max(1);
    let page = (row_group_size as usize / 2 / columns).clamp(8 << 10, PAGE);
    properties.into_builder().set_data_page_size_limit(page).set_data_page_row_count_limit(page / 8).build()
}

pub(crate) fn stopped(location: &Location, error: tokio::task::JoinError) -> Error {
    Error::corrupt(format!("{location}: a thread that writes it has crashed: report this")).caused_by(error)
}

#[cfg(test)]
mod tests;

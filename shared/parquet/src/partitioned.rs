//! Writes record batches as Parquet objects in partition folders. Rows may come in any order. Memory is bounded,
//! whatever the number of rows and partitions.
//!
//! Rows wait in memory by partition. When they take too much memory, the rows of the largest partition become a row
//! group of its file, which stays open. When open files hold too much memory, the largest file is finished. So rows
//! sorted by partition give a few large files. Unsorted rows give more, smaller files, and their number is limited too.

use std::{collections::BTreeSet, mem, sync::Arc, thread::available_parallelism};

use arrow_array::RecordBatch;
use futures::{
    StreamExt,
    stream::{BoxStream, select_all},
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};

use crate::{
    encode::Encoder,
    file::Open,
    output::Target,
    rows::{Batches, Rows},
    split::{Keys, Piece, Placed, Splitter},
    write::{Progress, check_schema, properties, stopped},
};
use turntable_core::{
    config,
    error::{Error, Result},
    layout::{Location, MAX_KEY_BYTES, part},
    manifest::File,
    partition::{self, Kind, Partition},
    port::Objects,
    schema::Column,
};

/// Arrow bytes of all rows that wait in memory or are being encoded.
const MAX_BUFFERED_BYTES: usize = 192 << 20;

/// Bytes that all open files together hold in memory, and bytes that one file holds at most: it has sent the rest.
const MAX_OPEN_FILE_BYTES: u64 = 256 << 20;
const MAX_HELD_BYTES_PER_FILE: u64 = 8 << 20;

/// Files of one partition that may be finished early to free memory.
const MAX_SMALL_FILES: usize = 64;

/// Rows and Arrow bytes that are split in one step.
const CHUNK_ROWS: usize = 1 << 18;
const CHUNK_BYTES: usize = 16 << 20;

/// Row groups that are encoded and sent at the same time, and files that are finished at the same time. Finishing
/// mostly waits for S3.
const MAX_CONCURRENT_ROW_GROUPS: usize = 4;
const MAX_CONCURRENT_FINISHES: usize = 32;

/// The result of [`write_until`].
pub enum PartitionedOutcome {
    All(Written),
    /// The stop signal came first. No upload is left unfinished.
    Stopped(Progress),
}

/// The files and partitions that were written.
pub struct Written {
    /// Sorted by key.
    pub files: Vec<File>,
    pub partitions: Vec<Partition>,
    /// The number of partitions that have rows.
    pub existing: usize,
    /// The number of partitions that Athena's projection will look for.
    pub projected: u64,
}

/// Writes every row of the source under the location, in folders by the columns `partition_by`. `columns` are the
/// source's columns, and `table` is for error messages. A source without rows gives one file without rows, in a folder
/// that the projection finds.
///
/// After a failure or a stop, no upload is left unfinished, as with [`crate::write()`].
#[allow(clippy::too_many_arguments)]
pub async fn write_until(
    stop: impl Future<Output = ()>,
    objects: &Arc<dyn Objects>,
    location: &Location,
    rows: Rows,
    columns: &[Column],
    partition_by: &[String],
    sizes: config::Parquet,
    table: &str,
) -> Result<PartitionedOutcome> {
    let (keys, by) = keys(&rows, columns, partition_by, table)?;
    let sizes = config::Parquet { row_group_size: sizes.row_group_size.min(sizes.file_size), ..sizes };
    let target = Target::new(objects.clone(), location.clone(), keys.schema.clone(), properties()?, sizes)?;
    let target = Arc::new(target);
    let mut pool = Pool::new(target.clone(), partition_by.to_vec());
    let ended = tokio::select! {
        biased;
        () = stop => Ok(PartitionedOutcome::Stopped(target.progress())),
        written = pool.fill(rows, keys, &by) => written.map(PartitionedOutcome::All),
    };
    if !matches!(ended, Ok(PartitionedOutcome::All(_))) {
        pool.abort().await;
    }
    ended
}

/// Returns the source's columns that become folders, each with its kind. Checks that files keep at least one column.
fn keys(rows: &Rows, columns: &[Column], partition_by: &[String], table: &str) -> Result<(Keys, Vec<(Column, Kind)>)> {
    let mut at = Vec::new();
    let mut by = Vec::new();
    for name in partition_by {
        let fault = |fault: String| Error::config(format!("{table}: partition_by: {fault}"));
        let Some(found) = columns.iter().position(|column| column.name == *name) else {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(fault(format!("the source has no column {name:?}; it has {}", names.join(", "))));
        };
        let kind = Kind::of(&columns[found].glue_type).map_err(|why| fault(format!("column {name:?}: {why}")))?;
        at.push((found, kind));
        by.push((columns[found].clone(), kind));
    }
    let rest: Vec<usize> = (0..columns.len()).filter(|n| at.iter().all(|(at, _)| at != n)).collect();
    if rest.is_empty() {
        return Err(Error::config(format!(
            "{table}: partition_by names every column of the source: leave one out, because a file needs a column"
        )));
    }
    let schema = rows.schema.project(&rest);
    let schema = schema.map_err(|error| {
        Error::corrupt(format!("{table}: the source's schema lacks a column: this is a bug, report it"))
            .caused_by(error)
    })?;
    Ok((Keys { at, rest, schema: Arc::new(schema), table: table.into() }, by))
}

/// All partitions, with their buffered rows, open files and running tasks.
struct Pool {
    target: Arc<Target>,
    names: Vec<String>,
    partitions: Vec<PartitionState>,
    /// Arrow bytes of all buffered rows and of those that are being encoded.
    bytes: usize,
    running: JoinSet<Result<Done>>,
    files: Vec<File>,
    threads: usize,
}

/// The buffered rows and the open file of one partition.
#[derive(Default)]
struct PartitionState {
    folder: String,
    batches: Vec<RecordBatch>,
    bytes: usize,
    open: Option<Open>,
    /// A task encodes or sends its row group, and holds its open file.
    busy: bool,
    files_begun: usize,
    /// Files that were finished early to free memory.
    small_files: usize,
}

/// The result of a task: its row group is sent, and its file is either still open or finished.
struct Done {
    at: usize,
    bytes: usize,
    open: Option<Open>,
    file: Option<File>,
}

impl Pool {
    fn new(target: Arc<Target>, names: Vec<String>) -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        let (partitions, running, files) = (Vec::new(), JoinSet::new(), Vec::new());
        Pool { target, names, partitions, bytes: 0, running, files, threads }
    }

    async fn fill(&mut self, rows: Rows, keys: Keys, by: &[(Column, Kind)]) -> Result<Written> {
        let mut splitter = Splitter::new(keys.clone());
        let mut rows = placed_rows(rows, &self.target);
        let mut chunk = next_chunk(&mut rows).await?;
        while !chunk.is_empty() {
            let splitting = spawn_blocking(move || {
                let pieces = splitter.split(&chunk)?;
                Ok::<_, Error>((splitter, pieces))
            });
            let (split, next) = tokio::join!(splitting, next_chunk(&mut rows));
            let pieces;
            (splitter, pieces) = split.map_err(|panic| stopped(&self.target.location, panic))??;
            self.buffer_pieces(&splitter, pieces)?;
            self.make_room().await?;
            chunk = next?;
        }
        let existing = splitter.partitions().len();
        let partition = |(at, (column, kind)): (usize, &(Column, Kind))| {
            let values: BTreeSet<_> = splitter.partitions().iter().map(|values| values[at].clone()).collect();
            Partition::of(column.clone(), *kind, &values)
        };
        let in_table = |fault: String| Error::input(format!("{}: {fault}", keys.table));
        let partitions: Vec<Partition> =
            by.iter().enumerate().map(partition).collect::<Result<_, _>>().map_err(in_table)?;
        let projected = partition::projected(&partitions, existing).map_err(in_table)?;
        if existing == 0 {
            let first: Vec<String> = partitions.iter().map(Partition::first).collect();
            self.add_partition(&first)?;
        }
        self.finish().await?;
        let mut files = mem::take(&mut self.files);
        files.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Written { files, partitions, existing, projected })
    }

    fn buffer_pieces(&mut self, splitter: &Splitter, pieces: Vec<Piece>) -> Result<()> {
        for values in &splitter.partitions()[self.partitions.len()..] {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            self.add_partition(&texts)?;
        }
        for Piece { partition, batch } in pieces {
            let state = &mut self.partitions[partition];
            let bytes = batch.get_array_memory_size();
            state.bytes += bytes;
            self.bytes += bytes;
            state.batches.push(batch);
        }
        Ok(())
    }

    fn add_partition(&mut self, values: &[String]) -> Result<()> {
        let names = self.names.iter().map(String::as_str);
        let folder = partition::folder(names.zip(values.iter().map(String::as_str)));
        let longest = self.target.location.key(&folder).key.len() + part(0).len();
        if longest > MAX_KEY_BYTES {
            return Err(Error::input(format!(
                "{}: partition_by: the values of a partition make a key longer than {MAX_KEY_BYTES} bytes: shorten them \
                 in the source's query",
                self.target.location
            )));
        }
        self.partitions.push(PartitionState { folder, ..PartitionState::default() });
        Ok(())
    }

    /// Sends buffered rows until the rest fits into memory.
    async fn make_room(&mut self) -> Result<()> {
        // Rows of a partition are sent from this size on, while more rows come.
        let enough = (MAX_BUFFERED_BYTES / 2)
            .min(usize::try_from(2 * self.target.sizes.row_group_size).unwrap_or(MAX_BUFFERED_BYTES));
        loop {
            while let Some(done) = self.running.try_join_next() {
                self.record_done(done).await?;
            }
            let idle = self.partitions.iter().enumerate().filter(|(_, state)| !state.busy && state.bytes > 0);
            let largest = idle.max_by_key(|(_, state)| state.bytes).map(|(at, state)| (at, state.bytes));
            let full = self.bytes > MAX_BUFFERED_BYTES;
            match largest {
                Some((at, bytes)) if (full || bytes >= enough) && self.running.len() < MAX_CONCURRENT_ROW_GROUPS => {
                    self.send(at, false)
                }
                // The rows belong to busy partitions, or as many tasks run as may: wait for one.
                _ if full || largest.is_some_and(|(_, bytes)| bytes >= enough) => self.wait_for_one().await?,
                _ => return self.finish_largest_files().await,
            }
        }
    }

    /// Finishes the largest files until the open ones hold at most [`MAX_OPEN_FILE_BYTES`].
    async fn finish_largest_files(&mut self) -> Result<()> {
        let holds = |open: &Open| open.bytes().min(MAX_HELD_BYTES_PER_FILE);
        let mut held: u64 = self.partitions.iter().filter_map(|state| state.open.as_ref()).map(holds).sum();
        while held > MAX_OPEN_FILE_BYTES {
            let open = self.partitions.iter().enumerate().filter_map(|(at, state)| Some((at, state.open.as_ref()?)));
            let Some((at, open)) = open.max_by_key(|(_, open)| open.bytes()) else { return Ok(()) };
            held -= holds(open);
            self.partitions[at].small_files += 1;
            if self.partitions[at].small_files > MAX_SMALL_FILES {
                return Err(Error::input(format!(
                    "{}: the rows are in too mixed an order: one partition would get more than {MAX_SMALL_FILES} small \
                     files: sort the rows in the source's query with ORDER BY {}",
                    self.target.location,
                    self.names.join(", ")
                )));
            }
            while self.running.len() >= MAX_CONCURRENT_FINISHES {
                self.wait_for_one().await?;
            }
            self.send(at, true);
        }
        Ok(())
    }

    /// Starts a task that encodes and sends the buffered rows of a partition. With `end` it also finishes the file.
    fn send(&mut self, at: usize, end: bool) {
        let state = &mut self.partitions[at];
        let (batches, bytes) = (mem::take(&mut state.batches), mem::take(&mut state.bytes));
        let open = state.open.take();
        let name = format!("{}{}", state.folder, part(state.files_begun));
        state.files_begun += usize::from(open.is_none());
        if open.is_none() {
            self.target.head();
        }
        state.busy = true;
        // For a small row group, more threads cost more than they save.
        let threads = if bytes > CHUNK_BYTES { self.threads } else { 1 };
        let target = self.target.clone();
        self.running.spawn(async move {
            let open = match open {
                Some(open) => open,
                None => Open::new(&target, name).await?,
            };
            let open = append(&target, open, batches, threads).await?;
            // A file is full when another row group would take its size farther from `file_size`, as in `output`.
            let full = open.bytes() + target.sizes.row_group_size / 2 >= target.sizes.file_size;
            match end || full {
                true => Ok(Done { at, bytes, open: None, file: Some(open.finish(&target).await?) }),
                false => Ok(Done { at, bytes, open: Some(open), file: None }),
            }
        });
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        match self.running.join_next().await {
            Some(done) => self.record_done(done).await,
            None => Ok(()),
        }
    }

    async fn record_done(&mut self, done: Result<Result<Done>, tokio::task::JoinError>) -> Result<()> {
        let Done { at, bytes, open, file } = done.map_err(|panic| stopped(&self.target.location, panic))??;
        let state = &mut self.partitions[at];
        (state.busy, state.open) = (false, open);
        self.bytes -= bytes;
        self.files.extend(file);
        Ok(())
    }

    /// Sends all buffered rows and finishes every file.
    async fn finish(&mut self) -> Result<()> {
        while !self.running.is_empty() {
            self.wait_for_one().await?;
        }
        for at in 0..self.partitions.len() {
            let state = &self.partitions[at];
            // Its last row filled its last file, which is finished.
            if state.open.is_none() && state.batches.is_empty() && state.files_begun > 0 {
                continue;
            }
            while self.running.len() >= MAX_CONCURRENT_FINISHES {
                self.wait_for_one().await?;
            }
            self.send(at, true);
        }
        while !self.running.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    /// Aborts all unfinished files.
    async fn abort(&mut self) {
        self.target.stop();
        while let Some(done) = self.running.join_next().await {
            if let Ok(Ok(Done { open: Some(open), .. })) = done {
                open.abort().await;
            }
        }
        for open in self.partitions.iter_mut().filter_map(|state| state.open.take()) {
            open.abort().await;
        }
    }
}

/// Encodes the batches as one row group and sends it. A failure aborts the file.
async fn append(target: &Target, open: Open, batches: Vec<RecordBatch>, threads: usize) -> Result<Open> {
    if batches.is_empty() {
        return Ok(open);
    }
    let columns = target.columns.clone();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let group = target.blocking(move || {
        let mut encoder = Encoder::new(columns, threads);
        encoder.encode(&batches)?;
        encoder.finish_row_group()
    });
    match group.await {
        Ok(group) => {
            target.encoded(rows);
            let (unsent, _) = watch::channel(group.size);
            open.append(group, unsent, target).await
        }
        Err(error) => {
            open.abort().await;
            Err(error)
        }
    }
}

type PlacedRows = BoxStream<'static, Result<Placed>>;

/// Merges all streams into one, in the order in which their batches arrive.
fn placed_rows(rows: Rows, target: &Target) -> PlacedRows {
    let Rows { schema, streams, .. } = rows;
    let count = streams.len();
    let place = |(at, batches): (usize, Batches)| {
        let (schema, location) = (schema.clone(), target.location.clone());
        // Numbered from 1, for error messages. Most streams must not be polled after their end, hence `fuse` below.
        let mut row = 1;
        let place = move |batch: Result<RecordBatch>| {
            let batch = batch?;
            check_schema(&batch, &schema, &location)?;
            let placed = Placed { stream: (at, count), row, batch };
            row += placed.batch.num_rows() as u64;
            Ok(placed)
        };
        batches.map(place).fuse().boxed()
    };
    select_all(streams.into_iter().enumerate().map(place)).fuse().boxed()
}

/// Returns the next rows, or an empty chunk at the end.
async fn next_chunk(rows: &mut PlacedRows) -> Result<Vec<Placed>> {
    let (mut chunk, mut count, mut bytes) = (Vec::new(), 0, 0);
    while count < CHUNK_ROWS && bytes < CHUNK_BYTES {
        let Some(placed) = rows.next().await.transpose()? else { break };
        if placed.batch.num_rows() == 0 {
            continue;
        }
        count += placed.batch.num_rows();
        bytes += placed.batch.get_array_memory_size();
        chunk.push(placed);
    }
    Ok(chunk)
}

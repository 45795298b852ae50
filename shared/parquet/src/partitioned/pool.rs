//! Manages the buffered rows, open files and running tasks of all partitions.

use std::{collections::BTreeSet, mem, sync::Arc, thread::available_parallelism};

use arrow_array::RecordBatch;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet, spawn_blocking},
};
use turntable_core::{
    error::{Error, Result},
    layout::{MAX_KEY_BYTES, part},
    manifest::File,
    partition::{self, Kind, Partition},
    schema::Column,
};

use super::{
    chunks::{CHUNK_BYTES, next_chunk, placed_rows},
    outcome::Written,
    split::{Keys, Piece, Splitter},
};
use crate::{encode::Encoder, file::Open, rows::Rows, target::Target};

/// The maximum in-memory size, in bytes, of all rows that are buffered or being encoded.
const MAX_BUFFERED_BYTES: usize = 192 << 20;

/// The maximum number of bytes that all open files together hold in memory.
const MAX_OPEN_FILE_BYTES: u64 = 256 << 20;
/// The maximum number of bytes that one open file holds in memory: a part of its multipart upload. The rest has been
/// sent.
const MAX_HELD_BYTES_PER_FILE: u64 = 8 << 20;

/// The maximum number of files in one partition that may be finished early to free memory.
const MAX_SMALL_FILES: usize = 64;

/// The maximum number of row groups that are encoded and sent at the same time.
const MAX_CONCURRENT_ROW_GROUPS: usize = 4;
/// The maximum number of files that are finished at the same time. Finishing a file mostly waits for S3.
const MAX_CONCURRENT_FINISHES: usize = 32;

/// All partitions, with their buffered rows, open files and running tasks.
pub(super) struct Pool {
    target: Arc<Target>,
    names: Vec<String>,
    partitions: Vec<PartitionState>,
    /// The in-memory size, in bytes, of all rows that are buffered or being encoded.
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
    /// Whether a task is sending the partition's rows or finishing its file. The task then owns the open file.
    busy: bool,
    files_begun: usize,
    /// The number of files that were finished early to free memory.
    small_files: usize,
}

/// The result of a task that has sent the rows of a partition: the partition's index, the rows' in-memory size, and the
/// file, either still open or finished.
struct Done {
    at: usize,
    bytes: usize,
    open: Option<Open>,
    file: Option<File>,
}

impl Pool {
    pub(super) fn new(target: Arc<Target>, names: Vec<String>) -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        let (partitions, running, files) = (Vec::new(), JoinSet::new(), Vec::new());
        Pool { target, names, partitions, bytes: 0, running, files, threads }
    }

    pub(super) async fn fill(&mut self, rows: Rows, keys: Keys, by: &[(Column, Kind)]) -> Result<Written> {
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
            (splitter, pieces) = split.map_err(|panic| self.target.panicked(panic))??;
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
                "{}: the partition_by values would make an S3 key longer than {MAX_KEY_BYTES} bytes, which S3 doesn't \
                 allow: shorten the values in the source",
                self.target.location
            )));
        }
        self.partitions.push(PartitionState { folder, ..PartitionState::default() });
        Ok(())
    }

    /// Sends buffered rows until the rest fits into memory.
    async fn make_room(&mut self) -> Result<()> {
        // While more rows arrive, a partition's rows are sent only once they reach this size.
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
                // All rows belong to busy partitions, or the maximum number of tasks is running, so wait for a task to
                // end.
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
                    "{}: the source's rows are not grouped by partition, and one partition would get more than \
                     {MAX_SMALL_FILES} small files: sort the rows by {} (in a query: with ORDER BY)",
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

    /// Starts a task that encodes and sends the buffered rows of a partition. With `end`, the task also finishes the
    /// file.
    fn send(&mut self, at: usize, end: bool) {
        let state = &mut self.partitions[at];
        let (batches, bytes) = (mem::take(&mut state.batches), mem::take(&mut state.bytes));
        let open = state.open.take();
        let name = format!("{}{}", state.folder, part(state.files_begun));
        state.files_begun += usize::from(open.is_none());
        if open.is_none() {
            self.target.count_file();
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

    async fn record_done(&mut self, done: Result<Result<Done>, JoinError>) -> Result<()> {
        let Done { at, bytes, open, file } = done.map_err(|panic| self.target.panicked(panic))??;
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
            // The partition's last rows filled its last file, which is already finished.
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
    pub(super) async fn abort(&mut self) {
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

//! Batches → partitions → objects, from rows in any order and in memory that grows with neither rows nor partitions.
//!
//! Rows wait in memory by partition. When there are too many, those of the largest partition become a row group of its
//! file, which stays open; when files that are open hold too much, the largest is finished. So rows that come sorted by
//! partition give a few large files, and rows in no order give smaller ones, of which there is a bound too.

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
    layout::{LONGEST_KEY, Location, part},
    manifest::File,
    partition::{self, Kind, Partition},
    port::Objects,
    schema::Column,
};

/// Bytes in Arrow: the rows that wait in memory, and those that are being encoded.
const WAITING: usize = 192 << 20;

/// Bytes: what open files hold in memory. One that has more than [`HELD`] has sent the rest of it.
const OPEN: u64 = 256 << 20;
const HELD: u64 = 8 << 20;

/// How many files of a partition may be finished before they are full, for want of memory.
const MOST_SMALL: usize = 64;

/// What is split in one go. Rows and bytes in Arrow.
const CHUNK_ROWS: usize = 1 << 18;
const CHUNK_BYTES: usize = 16 << 20;

/// Row groups that are encoded and sent at the same time, and files that are finished, which is mostly waiting for S3.
const AT_ONCE: usize = 4;
const ENDING: usize = 32;

/// What has become of the rows.
pub enum Ended {
    All(Written),
    /// The time was up first. No upload is left unfinished.
    Stopped(Progress),
}

/// What was written.
pub struct Written {
    /// In the order of their names.
    pub files: Vec<File>,
    pub partitions: Vec<Partition>,
    /// How many partitions have rows.
    pub existing: usize,
    /// How many Athena will look for.
    pub projected: u64,
}

/// Writes every row of the source under the location, in folders by the columns `partition_by`, which `columns`, the
/// source's, have. A source without rows gives one file without rows in a folder that the projection finds.
///
/// `table` is for messages. What fails leaves what [`crate::write()`] leaves, and so does what gives up because `stop` is
/// there.
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
) -> Result<Ended> {
    let (keys, by) = keys(&rows, columns, partition_by, table)?;
    let sizes = config::Parquet { row_group_size: sizes.row_group_size.min(sizes.file_size), ..sizes };
    let target = Target::new(objects.clone(), location.clone(), keys.schema.clone(), properties()?, sizes)?;
    let target = Arc::new(target);
    let mut pool = Pool::new(target.clone(), partition_by.to_vec());
    let ended = tokio::select! {
        biased;
        () = stop => Ok(Ended::Stopped(target.progress())),
        written = pool.fill(rows, keys, &by) => written.map(Ended::All),
    };
    if !matches!(ended, Ok(Ended::All(_))) {
        pool.abort().await;
    }
    ended
}

/// What becomes a folder, and of which kind.
fn keys(rows: &Rows, columns: &[Column], partition_by: &[String], table: &str) -> Result<(Keys, Vec<(Column, Kind)>)> {
    let mut at = Vec::new();
    let mut by = Vec::new();
    for name in partition_by {
        let fault = |fault: String| Error::config(format!("{table}: partition_by: {fault}"));
        let Some(found) = columns.iter().position(|column| column.name == *name) else {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(fault(format!("the source has no column {name:?}, only {}", names.join(", "))));
        };
        let kind = Kind::of(&columns[found].glue_type).map_err(|why| fault(format!("column {name:?}: {why}")))?;
        at.push((found, kind));
        by.push((columns[found].clone(), kind));
    }
    let rest: Vec<usize> = (0..columns.len()).filter(|n| at.iter().all(|(at, _)| at != n)).collect();
    if rest.is_empty() {
        return Err(Error::config(format!(
            "{table}: partition_by has all columns of the source, and a file needs one at least"
        )));
    }
    let schema = rows.schema.project(&rest);
    let schema = schema.map_err(|error| Error::corrupt(format!("{table}: report this")).caused_by(error))?;
    Ok((Keys { at, rest, schema: Arc::new(schema), table: table.into() }, by))
}

/// All partitions, and what of them is on its way.
struct Pool {
    target: Arc<Target>,
    names: Vec<String>,
    partitions: Vec<Waiting>,
    /// Bytes in Arrow, the rows that are being encoded included.
    bytes: usize,
    running: JoinSet<Result<Done>>,
    files: Vec<File>,
    threads: usize,
}

/// One partition.
#[derive(Default)]
struct Waiting {
    folder: String,
    batches: Vec<RecordBatch>,
    bytes: usize,
    open: Option<Open>,
    /// Its row group is being encoded or sent, and its file is there.
    busy: bool,
    /// Files that were begun.
    begun: usize,
    /// Files that were finished for want of memory.
    small: usize,
}

/// A row group that is in its file.
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
        let mut rows = placed(rows, &self.target);
        let mut chunk = next_chunk(&mut rows).await?;
        while !chunk.is_empty() {
            let splitting = spawn_blocking(move || {
                let pieces = splitter.split(&chunk)?;
                Ok::<_, Error>((splitter, pieces))
            });
            let (split, next) = tokio::join!(splitting, next_chunk(&mut rows));
            let pieces;
            (splitter, pieces) = split.map_err(|panic| stopped(&self.target.location, panic))??;
            self.take(&splitter, pieces)?;
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
            self.add(&first)?;
        }
        self.finish().await?;
        let mut files = mem::take(&mut self.files);
        files.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Written { files, partitions, existing, projected })
    }

    fn take(&mut self, splitter: &Splitter, pieces: Vec<Piece>) -> Result<()> {
        for values in &splitter.partitions()[self.partitions.len()..] {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            self.add(&texts)?;
        }
        for Piece { partition, batch } in pieces {
            let waiting = &mut self.partitions[partition];
            let bytes = batch.get_array_memory_size();
            waiting.bytes += bytes;
            self.bytes += bytes;
            waiting.batches.push(batch);
        }
        Ok(())
    }

    fn add(&mut self, values: &[String]) -> Result<()> {
        let names = self.names.iter().map(String::as_str);
        let folder = partition::folder(names.zip(values.iter().map(String::as_str)));
        let longest = self.target.location.key(&folder).key.len() + part(0).len();
        if longest > LONGEST_KEY {
            return Err(Error::input(format!(
                "{}: partition_by: a partition's values give a key of more than {LONGEST_KEY} bytes: shorten them in \
                 the source's query",
                self.target.location
            )));
        }
        self.partitions.push(Waiting { folder, ..Waiting::default() });
        Ok(())
    }

    /// Sends rows until the others fit.
    async fn make_room(&mut self) -> Result<()> {
        // One partition's rows are sent while the next ones come.
        let enough = (WAITING / 2).min(usize::try_from(2 * self.target.sizes.row_group_size).unwrap_or(WAITING));
        loop {
            while let Some(done) = self.running.try_join_next() {
                self.done(done).await?;
            }
            let idle = self.partitions.iter().enumerate().filter(|(_, waiting)| !waiting.busy && waiting.bytes > 0);
            let largest = idle.max_by_key(|(_, waiting)| waiting.bytes).map(|(at, waiting)| (at, waiting.bytes));
            let full = self.bytes > WAITING;
            match largest {
                Some((at, bytes)) if (full || bytes >= enough) && self.running.len() < AT_ONCE => self.send(at, false),
                // Waiting rows of a busy partition, or as many as can be on their way.
                _ if full || largest.is_some_and(|(_, bytes)| bytes >= enough) => self.one_done().await?,
                _ => return self.close_some().await,
            }
        }
    }

    /// Finishes files until the others hold little enough.
    async fn close_some(&mut self) -> Result<()> {
        let holds = |open: &Open| open.bytes().min(HELD);
        let mut held: u64 = self.partitions.iter().filter_map(|waiting| waiting.open.as_ref()).map(holds).sum();
        while held > OPEN {
            let open =
                self.partitions.iter().enumerate().filter_map(|(at, waiting)| Some((at, waiting.open.as_ref()?)));
            let Some((at, open)) = open.max_by_key(|(_, open)| open.bytes()) else { return Ok(()) };
            held -= holds(open);
            self.partitions[at].small += 1;
            if self.partitions[at].small > MOST_SMALL {
                return Err(Error::input(format!(
                    "{}: the rows are too many and too mixed for their partitions: more than {MOST_SMALL} files of one \
                     partition would be small; sort them in the source's query, ORDER BY {}",
                    self.target.location,
                    self.names.join(", ")
                )));
            }
            while self.running.len() >= ENDING {
                self.one_done().await?;
            }
            self.send(at, true);
        }
        Ok(())
    }

    /// Begins to encode and send what waits of a partition; at the `end`, to finish its file too.
    fn send(&mut self, at: usize, end: bool) {
        let waiting = &mut self.partitions[at];
        let (batches, bytes) = (mem::take(&mut waiting.batches), mem::take(&mut waiting.bytes));
        let open = waiting.open.take();
        let name = format!("{}{}", waiting.folder, part(waiting.begun));
        waiting.begun += usize::from(open.is_none());
        if open.is_none() {
            self.target.begun();
        }
        waiting.busy = true;
        // A thread costs more than it saves where there is little to do.
        let threads = if bytes > CHUNK_BYTES { self.threads } else { 1 };
        let target = self.target.clone();
        self.running.spawn(async move {
            let open = match open {
                Some(open) => open,
                None => Open::new(&target, name).await?,
            };
            let open = append(&target, open, batches, threads).await?;
            // Full is nearest to `file_size`, as it is without partitions.
            let full = open.bytes() + target.sizes.row_group_size / 2 >= target.sizes.file_size;
            match end || full {
                true => Ok(Done { at, bytes, open: None, file: Some(open.finish(&target).await?) }),
                false => Ok(Done { at, bytes, open: Some(open), file: None }),
            }
        });
    }

    async fn one_done(&mut self) -> Result<()> {
        match self.running.join_next().await {
            Some(done) => self.done(done).await,
            None => Ok(()),
        }
    }

    async fn done(&mut self, done: Result<Result<Done>, tokio::task::JoinError>) -> Result<()> {
        let Done { at, bytes, open, file } = done.map_err(|panic| stopped(&self.target.location, panic))??;
        let waiting = &mut self.partitions[at];
        (waiting.busy, waiting.open) = (false, open);
        self.bytes -= bytes;
        self.files.extend(file);
        Ok(())
    }

    /// Sends what is left and finishes every file.
    async fn finish(&mut self) -> Result<()> {
        while !self.running.is_empty() {
            self.one_done().await?;
        }
        for at in 0..self.partitions.len() {
            let waiting = &self.partitions[at];
            // Its last file was full with its last row.
            if waiting.open.is_none() && waiting.batches.is_empty() && waiting.begun > 0 {
                continue;
            }
            while self.running.len() >= ENDING {
                self.one_done().await?;
            }
            self.send(at, true);
        }
        while !self.running.is_empty() {
            self.one_done().await?;
        }
        Ok(())
    }

    /// Leaves nothing of unfinished files.
    async fn abort(&mut self) {
        self.target.stop();
        while let Some(done) = self.running.join_next().await {
            if let Ok(Ok(Done { open: Some(open), .. })) = done {
                open.abort().await;
            }
        }
        for open in self.partitions.iter_mut().filter_map(|waiting| waiting.open.take()) {
            open.abort().await;
        }
    }
}

/// Encodes the batches as one row group of the file. What fails leaves no file.
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

/// The rows of all streams, as they come.
fn placed(rows: Rows, target: &Target) -> PlacedRows {
    let Rows { schema, streams, .. } = rows;
    let count = streams.len();
    let place = |(at, batches): (usize, Batches)| {
        let (schema, location) = (schema.clone(), target.location.clone());
        // Most streams bear no poll after their end.
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

/// The next rows; nothing when there are no more.
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

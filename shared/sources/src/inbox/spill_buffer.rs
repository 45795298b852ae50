//! Holds any number of records during one refresh. Records that don't fit into memory go to a file, partitioned by the
//! hash of the key, so that one bucket's records can be read separately.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use turntable_core::consent::{ConsentRecord, bucket, record_columns::RecordColumns};
use turntable_core::error::{Error, Result};

/// The number of partitions in each chunk of the file. Equals the default maximum number of buckets.
const SPILL_PARTITIONS: u32 = bucket::MOST;

/// An unnamed file in the temporary folder. It is created on first use, and freed when its last owner is dropped.
#[derive(Default)]
pub struct SpillFile {
    file: OnceLock<File>,
    end: AtomicU64,
}

/// Records that were written to the file together, split into partitions.
struct Chunk {
    /// The offset in the file, the size in bytes and the number of records of each partition.
    partitions: Vec<(u64, usize, usize)>,
}

/// A buffer for records, partly in memory and partly in the file. The records are in no particular order.
pub struct SpillBuffer {
    memory: RecordColumns,
    chunks: Vec<Chunk>,
    spill: Arc<SpillFile>,
    /// The size in memory, in bytes, at which the records are written to the file.
    max_bytes: usize,
    len: usize,
    /// Why writing to the file failed. Later records are ignored, and [`SpillBuffer::ensure_complete`] returns the
    /// error.
    failed: Option<Error>,
}

impl SpillBuffer {
    /// Returns an empty buffer that writes its records to `spill` when they take `max_bytes` in memory. `width` is
    /// [`turntable_core::consent::key::Key::width`].
    pub fn new(width: Option<usize>, spill: &Arc<SpillFile>, max_bytes: usize) -> SpillBuffer {
        SpillBuffer {
            memory: RecordColumns::new(width),
            chunks: Vec::new(),
            spill: spill.clone(),
            max_bytes,
            len: 0,
            failed: None,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn push(&mut self, key: &[u8], word: ConsentRecord) {
        if self.failed.is_none() {
            self.memory.push(key, word);
            self.len += 1;
            self.spill_if_full();
        }
    }

    /// Adds all records of another buffer.
    pub fn extend(&mut self, other: SpillBuffer) {
        self.memory.extend(&other.memory);
        self.chunks.extend(other.chunks);
        self.len += other.len;
        self.failed = self.failed.take().or(other.failed);

        self.spill_if_full();
    }

    fn spill_if_full(&mut self) {
        if self.memory.bytes() >= self.max_bytes {
            let empty = RecordColumns::new(self.memory.width());
            let full = std::mem::replace(&mut self.memory, empty);
            match self.spill.write(&full) {
                Ok(chunk) => self.chunks.push(chunk),
                Err(fault) => self.failed = Some(fault),
            }
        }
    }

    /// Returns the buffer, or the error if a failed write lost records.
    pub fn ensure_complete(mut self) -> Result<SpillBuffer> {
        self.failed.take().map_or(Ok(self), Err)
    }

    /// Splits the records by bucket. `buckets` is a power of two.
    pub fn partition_by_bucket(self, buckets: u32) -> Vec<Part> {
        let (chunks, spill) = (Arc::new(self.chunks), self.spill);
        let part = |(number, memory): (usize, RecordColumns)| Part {
            number: number as u32,
            buckets,
            memory,
            chunks: chunks.clone(),
            spill: spill.clone(),
        };
        self.memory.partition_by_bucket(buckets).into_iter().enumerate().map(part).collect()
    }
}

/// One bucket's records in a spill buffer.
pub struct Part {
    number: u32,
    buckets: u32,
    memory: RecordColumns,
    chunks: Arc<Vec<Chunk>>,
    spill: Arc<SpillFile>,
}

impl Part {
    /// Returns the number of records in the bucket. If there are more buckets than partitions in the file, it is an
    /// upper bound.
    pub fn at_most(&self) -> usize {
        let partitions =
            self.chunks.iter().flat_map(|chunk| self.partitions().map(|partition| chunk.partitions[partition].2));
        self.memory.len() + partitions.sum::<usize>()
    }

    fn partitions(&self) -> impl Iterator<Item = usize> + use<> {
        (self.number % SPILL_PARTITIONS..SPILL_PARTITIONS)
            .step_by(self.buckets.min(SPILL_PARTITIONS) as usize)
            .map(|partition| partition as usize)
    }

    /// Loads the bucket's records into memory. Blocks while it reads the file.
    pub fn load(self) -> Result<RecordColumns> {
        let partitions: Vec<usize> = self.partitions().collect();
        let mut all = self.memory;
        for chunk in &*self.chunks {
            for partition in &partitions {
                let run = self.spill.read(all.width(), chunk.partitions[*partition])?;
                if self.buckets <= SPILL_PARTITIONS {
                    all.extend(&run);
                } else {
                    let ours = run.records().filter(|(key, _)| bucket::of(key, self.buckets) == self.number);
                    ours.for_each(|(key, word)| all.push(key, word));
                }
            }
        }
        Ok(all)
    }
}

impl SpillFile {
    fn write(&self, run: &RecordColumns) -> Result<Chunk> {
        let (mut bytes, mut partitions) = (Vec::with_capacity(run.bytes() + 1024), Vec::new());
        for partition in run.partition_by_bucket(SPILL_PARTITIONS) {
            let begin = bytes.len();
            partition.write(&mut bytes);
            partitions.push((begin as u64, bytes.len() - begin, partition.len()));
        }
        let at = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        partitions.iter_mut().for_each(|(begin, ..)| *begin += at);
        self.file().and_then(|file| file.write_all_at(&bytes, at)).map_err(fault)?;
        Ok(Chunk { partitions })
    }

    fn read(&self, width: Option<usize>, (at, size, records): (u64, usize, usize)) -> Result<RecordColumns> {
        let mut bytes = vec![0; size];
        self.file().and_then(|file| file.read_exact_at(&mut bytes, at)).map_err(fault)?;
        Ok(RecordColumns::read(width, records, &bytes))
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = tempfile::tempfile()?;
        Ok(self.file.get_or_init(|| file))
    }
}

fn fault(fault: io::Error) -> Error {
    Error::unavailable(
        "the function's temporary folder is full or unusable: give the function more ephemeral storage, then run the \
         refresh again",
    )
    .caused_by(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use turntable_core::consent::ConsentState;

    #[test]
    fn buffer_returns_the_same_records_from_memory_and_disk() {
        for width in [Some(4), None] {
            for buckets in [1, 4, 64, 256] {
                let spill = Arc::new(SpillFile::default());
                let (mut small, mut large) =
                    (SpillBuffer::new(width, &spill, 999), SpillBuffer::new(width, &spill, 1 << 20));
                let mut other = SpillBuffer::new(width, &spill, 500);
                for number in 0..3000_u32 {
                    let key = number.wrapping_mul(2_654_435_761).to_be_bytes();
                    let key = if width.is_some() { &key[..] } else { &key[..1 + number as usize % 4] };
                    let word = ConsentRecord {
                        occurred_at: i64::from(number) - 7,
                        state: ConsentState::ALL[number as usize % 3],
                    };
                    if number % 3 == 0 {
                        other.push(key, word)
                    } else {
                        small.push(key, word)
                    }
                    large.push(key, word);
                }
                small.extend(other);
                assert!(small.chunks.len() > 10 && large.chunks.is_empty());
                assert_eq!((small.len(), large.len()), (3000, 3000));
                let (small, large) = (
                    small.ensure_complete().unwrap().partition_by_bucket(buckets),
                    large.ensure_complete().unwrap().partition_by_bucket(buckets),
                );
                for (one, other) in small.into_iter().zip(large) {
                    let most = one.at_most();
                    let (one, other) = (one.load().unwrap().sorted(), other.load().unwrap().sorted());
                    assert_eq!(one, other, "{buckets}");
                    assert!(one.len() <= most && (buckets > SPILL_PARTITIONS || one.len() == most || width.is_none()));
                }
            }
        }
    }

    #[test]
    fn failed_spill_is_an_error_and_not_a_smaller_table() {
        let read_only = File::open("/dev/null").unwrap();
        let spill = Arc::new(SpillFile { file: OnceLock::from(read_only), ..SpillFile::default() });
        let mut spill_buffer = SpillBuffer::new(None, &spill, 100);
        let word = ConsentRecord { occurred_at: 0, state: ConsentState::OptedOut };
        (0..50_u8).for_each(|key| spill_buffer.push(&[key; 8], word));
        let mut all = SpillBuffer::new(None, &spill, 1 << 20);
        all.extend(spill_buffer);
        let error = all.ensure_complete().err().unwrap();
        assert!(error.message().contains("give the function more ephemeral storage"), "{error:?}");
    }
}

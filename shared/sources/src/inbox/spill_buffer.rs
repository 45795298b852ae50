//! Records of one refresh, however many: what is too much for the memory lies in a file, dealt by the hash of the key,
//! so that a bucket can be given its own.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use turntable_core::consent::{Word, bucket, record_columns::Run};
use turntable_core::error::{Error, Result};

/// Parts that the file's records are dealt into: as many as a table is given buckets by itself.
const SHARES: u32 = bucket::MOST;

/// A file without a name in the temporary folder, made when it is needed; it goes with the last that has it.
#[derive(Default)]
pub struct Spill {
    file: OnceLock<File>,
    end: AtomicU64,
}

/// Records that were written at once.
struct Chunk {
    /// Of each share: where it begins, its bytes, and how many records it holds.
    shares: Vec<(u64, usize, usize)>,
}

/// Records in no order.
pub struct Pile {
    memory: Run,
    chunks: Vec<Chunk>,
    spill: Arc<Spill>,
    /// Bytes in memory from which on they go to the file.
    most: usize,
    len: usize,
    /// Why the file could not be written. Nothing is taken from then on.
    failed: Option<Error>,
}

impl Pile {
    /// For keys of [`turntable_core::consent::key::Key::width`].
    pub fn new(width: Option<usize>, spill: &Arc<Spill>, most: usize) -> Pile {
        Pile { memory: Run::new(width), chunks: Vec::new(), spill: spill.clone(), most, len: 0, failed: None }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn push(&mut self, key: &[u8], word: Word) {
        if self.failed.is_none() {
            self.memory.push(key, word);
            self.len += 1;
            self.relieve();
        }
    }

    /// Adds all records of another.
    pub fn extend(&mut self, other: Pile) {
        self.memory.extend(&other.memory);
        self.chunks.extend(other.chunks);
        self.len += other.len;
        self.failed = self.failed.take().or(other.failed);

        self.relieve();
    }

    fn relieve(&mut self) {
        if self.memory.bytes() >= self.most {
            let empty = Run::new(self.memory.width());
            let full = std::mem::replace(&mut self.memory, empty);
            match self.spill.write(&full) {
                Ok(chunk) => self.chunks.push(chunk),
                Err(fault) => self.failed = Some(fault),
            }
        }
    }

    /// The pile, if all of it could be kept.
    pub fn whole(mut self) -> Result<Pile> {
        self.failed.take().map_or(Ok(self), Err)
    }

    /// The records of each of so many buckets, a power of two.
    pub fn dealt(self, buckets: u32) -> Vec<Part> {
        let (chunks, spill) = (Arc::new(self.chunks), self.spill);
        let part = |(number, memory): (usize, Run)| Part {
            number: number as u32,
            buckets,
            memory,
            chunks: chunks.clone(),
            spill: spill.clone(),
        };
        self.memory.dealt(buckets).into_iter().enumerate().map(part).collect()
    }
}

/// One bucket's records of a pile.
pub struct Part {
    number: u32,
    buckets: u32,
    memory: Run,
    chunks: Arc<Vec<Chunk>>,
    spill: Arc<Spill>,
}

impl Part {
    /// How many there are; where there are more buckets than shares, how many there may be.
    pub fn at_most(&self) -> usize {
        let shares = self.chunks.iter().flat_map(|chunk| self.shares().map(|share| chunk.shares[share].2));
        self.memory.len() + shares.sum::<usize>()
    }

    fn shares(&self) -> impl Iterator<Item = usize> + use<> {
        (self.number % SHARES..SHARES).step_by(self.buckets.min(SHARES) as usize).map(|share| share as usize)
    }

    /// All of them in memory. Blocks.
    pub fn load(self) -> Result<Run> {
        let shares: Vec<usize> = self.shares().collect();
        let mut all = self.memory;
        for chunk in &*self.chunks {
            for share in &shares {
                let run = self.spill.read(all.width(), chunk.shares[*share])?;
                if self.buckets <= SHARES {
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

impl Spill {
    fn write(&self, run: &Run) -> Result<Chunk> {
        let (mut bytes, mut shares) = (Vec::with_capacity(run.bytes() + 1024), Vec::new());
        for share in run.dealt(SHARES) {
            let begin = bytes.len();
            share.write(&mut bytes);
            shares.push((begin as u64, bytes.len() - begin, share.len()));
        }
        let at = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        shares.iter_mut().for_each(|(begin, ..)| *begin += at);
        self.file().and_then(|file| file.write_all_at(&bytes, at)).map_err(fault)?;
        Ok(Chunk { shares })
    }

    fn read(&self, width: Option<usize>, (at, size, records): (u64, usize, usize)) -> Result<Run> {
        let mut bytes = vec![0; size];
        self.file().and_then(|file| file.read_exact_at(&mut bytes, at)).map_err(fault)?;
        Ok(Run::read(width, records, &bytes))
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("turntable-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(self.file.get_or_init(|| file))
    }
}

fn fault(fault: io::Error) -> Error {
    Error::unavailable("the function's temporary folder takes no more: run again, or give it more ephemeral storage")
        .caused_by(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use turntable_core::consent::State;

    #[test]
    fn a_pile_is_the_same_in_memory_and_on_disk() {
        for width in [Some(4), None] {
            for buckets in [1, 4, 64, 256] {
                let spill = Arc::new(Spill::default());
                let (mut small, mut large) = (Pile::new(width, &spill, 999), Pile::new(width, &spill, 1 << 20));
                let mut other = Pile::new(width, &spill, 500);
                for number in 0..3000_u32 {
                    let key = number.wrapping_mul(2_654_435_761).to_be_bytes();
                    let key = if width.is_some() { &key[..] } else { &key[..1 + number as usize % 4] };
                    let word = Word { occurred_at: i64::from(number) - 7, state: State::ALL[number as usize % 3] };
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
                let (small, large) = (small.whole().unwrap().dealt(buckets), large.whole().unwrap().dealt(buckets));
                for (one, other) in small.into_iter().zip(large) {
                    let most = one.at_most();
                    let (one, other) = (one.load().unwrap().sorted(), other.load().unwrap().sorted());
                    assert_eq!(one, other, "{buckets}");
                    assert!(one.len() <= most && (buckets > SHARES || one.len() == most || width.is_none()));
                }
            }
        }
    }

    #[test]
    fn what_could_not_be_kept_is_an_error_and_no_smaller_table() {
        let read_only = File::open("/dev/null").unwrap();
        let spill = Arc::new(Spill { file: OnceLock::from(read_only), ..Spill::default() });
        let mut pile = Pile::new(None, &spill, 100);
        let word = Word { occurred_at: 0, state: State::OptedOut };
        (0..50_u8).for_each(|key| pile.push(&[key; 8], word));
        let mut all = Pile::new(None, &spill, 1 << 20);
        all.extend(pile);
        let error = all.whole().err().unwrap();
        assert!(error.message().contains("give it more ephemeral storage"), "{error:?}");
    }
}

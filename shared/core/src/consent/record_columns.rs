//! Consent records in memory, stored column by column. A record with a `bigint` key takes 17 bytes.

use super::{
    bucket,
    record::{ConsentRecord, ConsentState, later},
};

/// A list of records, in any order and perhaps with several for the same key. [`RecordColumns::sorted`] leaves one
/// record per key, in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordColumns {
    /// The length of every key in bytes, or `None` if the length varies.
    width: Option<usize>,
    /// The bytes of all keys, one key after another.
    keys: Vec<u8>,
    /// The offset in `keys` at which each key ends. Empty if all keys have the same length.
    ends: Vec<usize>,
    times: Vec<i64>,
    states: Vec<ConsentState>,
}

/// What a merge has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// The number of keys that are new or have a changed record.
    pub keys: u64,
    /// The number of people who had opted out and are opted in now.
    pub returning: u64,
}

impl RecordColumns {
    /// Returns an empty list. `width` is the result of [`Key::width`](crate::consent::key::Key::width).
    pub fn new(width: Option<usize>) -> RecordColumns {
        RecordColumns { width, ..RecordColumns::default() }
    }

    pub fn width(&self) -> Option<usize> {
        self.width
    }

    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub fn push(&mut self, key: &[u8], word: ConsentRecord) {
        self.keys.extend_from_slice(key);
        if self.width.is_none() {
            self.ends.push(self.keys.len());
        }
        self.times.push(word.occurred_at);
        self.states.push(word.state);
    }

    pub fn key(&self, at: usize) -> &[u8] {
        match self.width {
            Some(width) => &self.keys[at * width..(at + 1) * width],
            None => {
                let start = if at == 0 { 0 } else { self.ends[at - 1] };
                &self.keys[start..self.ends[at]]
            }
        }
    }

    pub fn word(&self, at: usize) -> ConsentRecord {
        ConsentRecord { occurred_at: self.times[at], state: self.states[at] }
    }

    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// Returns the approximate memory use in bytes.
    pub fn bytes(&self) -> usize {
        self.keys.len() + self.ends.len() * 8 + self.times.len() * 9
    }

    /// Appends the records to `to` as bytes. They contain neither the width nor the number of records, so
    /// [`RecordColumns::read`] must be given both.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.extend(self.times.iter().flat_map(|time| time.to_le_bytes()));
        to.extend(self.states.iter().map(|state| *state as u8));
        to.extend(self.ends.iter().flat_map(|end| (*end as u64).to_le_bytes()));
        to.extend_from_slice(&self.keys);
    }

    /// Reads records back from the bytes that [`RecordColumns::write`] wrote. May panic if the bytes, the width or the
    /// number of records are different.
    #[expect(clippy::expect_used, reason = "each chunk has eight bytes")]
    pub fn read(width: Option<usize>, records: usize, bytes: &[u8]) -> RecordColumns {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        let (times, rest) = bytes.split_at(records * 8);
        let (states, rest) = rest.split_at(records);
        let (ends, keys) = rest.split_at(if width.is_none() { records * 8 } else { 0 });
        RecordColumns {
            width,
            keys: keys.to_vec(),
            ends: ends.chunks_exact(8).map(|end| word(end) as usize).collect(),
            times: times.chunks_exact(8).map(|time| word(time) as i64).collect(),
            states: states.iter().map(|state| ConsentState::ALL[usize::from(*state)]).collect(),
        }
    }

    pub fn records(&self) -> impl Iterator<Item = (&[u8], ConsentRecord)> {
        (0..self.len()).map(|at| (self.key(at), self.word(at)))
    }

    /// Sorts the records by key. Of several records for one key, keeps the one that counts according to [`later`].
    pub fn sorted(self) -> RecordColumns {
        if (1..self.len()).all(|at| self.key(at - 1) < self.key(at)) {
            return self;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_unstable_by(|one, other| self.key(*one).cmp(self.key(*other)));
        let mut sorted = RecordColumns::with_capacity(self.width, self.len(), self.keys.len());
        for same in order.chunk_by(|one, other| self.key(*one) == self.key(*other)) {
            if let Some(word) = same.iter().map(|at| self.word(*at)).reduce(later) {
                sorted.push(self.key(same[0]), word);
            }
        }
        sorted
    }

    /// Merges `changes` into these records. Returns the merged records, and what has changed. Both lists must be
    /// sorted.
    pub fn merged(self, changes: &RecordColumns) -> (RecordColumns, Changed) {
        let mut changed = Changed::default();
        if changes.is_empty() {
            return (self, changed);
        }
        let (len, bytes) = (self.len() + changes.len(), self.keys.len() + changes.keys.len());
        let mut all = RecordColumns::with_capacity(self.width, len, bytes);
        let mut at = 0;
        for (key, word) in changes.records() {
            while at < self.len() && self.key(at) < key {
                all.push(self.key(at), self.word(at));
                at += 1;
            }
            if at < self.len() && self.key(at) == key {
                let old = self.word(at);
                let counts = later(old, word);
                changed.keys += u64::from(counts != old);
                changed.returning +=
                    u64::from(counts.state == ConsentState::OptedIn && old.state != ConsentState::OptedIn);
                all.push(key, counts);
                at += 1;
            } else {
                all.push(key, word);
                changed.keys += 1;
            }
        }
        for rest in at..self.len() {
            all.push(self.key(rest), self.word(rest));
        }
        (all, changed)
    }

    /// Splits the records into one list per bucket. The order of the records stays the same.
    pub fn partition_by_bucket(&self, buckets: u32) -> Vec<RecordColumns> {
        let mut partition_by_bucket = vec![RecordColumns::new(self.width); buckets as usize];
        for (key, word) in self.records() {
            partition_by_bucket[bucket::of(key, buckets) as usize].push(key, word);
        }
        partition_by_bucket
    }

    /// Appends all records of another list with the same width.
    pub fn extend(&mut self, other: &RecordColumns) {
        let before = self.keys.len();
        self.keys.extend_from_slice(&other.keys);
        self.ends.extend(other.ends.iter().map(|end| end + before));
        self.times.extend_from_slice(&other.times);
        self.states.extend_from_slice(&other.states);
    }

    /// Returns an empty list with capacity for `len` records. `bytes` is the total length of all keys, and is ignored
    /// if there is a width.
    pub fn with_capacity(width: Option<usize>, len: usize, bytes: usize) -> RecordColumns {
        let bytes = width.map_or(bytes, |width| width * len);
        let ends = Vec::with_capacity(if width.is_none() { len } else { 0 });
        let (times, states) = (Vec::with_capacity(len), Vec::with_capacity(len));
        RecordColumns { width, keys: Vec::with_capacity(bytes), ends, times, states }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A pseudo-random generator with a fixed seed.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        fn word(&mut self) -> ConsentRecord {
            ConsentRecord { occurred_at: self.below(4) as i64, state: ConsentState::ALL[self.below(3) as usize] }
        }

        fn run(&mut self, width: Option<usize>) -> RecordColumns {
            let mut run = RecordColumns::new(width);
            for _ in 0..self.below(40) {
                let key = format!("{:04}", self.below(20));
                let key = if width.is_some() { key } else { key.trim_start_matches('0').to_owned() };
                run.push(key.as_bytes(), self.word());
            }
            run
        }
    }

    fn model<'a>(runs: impl IntoIterator<Item = &'a RecordColumns>) -> BTreeMap<Vec<u8>, ConsentRecord> {
        let mut model: BTreeMap<Vec<u8>, ConsentRecord> = BTreeMap::new();
        for (key, word) in runs.into_iter().flat_map(RecordColumns::records) {
            model.entry(key.to_vec()).and_modify(|known| *known = later(*known, word)).or_insert(word);
        }
        model
    }

    fn assert_is(run: &RecordColumns, model: &BTreeMap<Vec<u8>, ConsentRecord>) {
        assert!(run.records().eq(model.iter().map(|(key, word)| (key.as_slice(), *word))));
    }

    #[test]
    fn later_is_commutative_associative_idempotent_and_protective_on_ties() {
        let words: Vec<ConsentRecord> = (0..3)
            .flat_map(|occurred_at| ConsentState::ALL.map(|state| ConsentRecord { occurred_at, state }))
            .collect();
        for one in &words {
            assert_eq!(later(*one, *one), *one);
            for two in &words {
                assert_eq!(later(*one, *two), later(*two, *one));
                for three in &words {
                    assert_eq!(later(later(*one, *two), *three), later(*one, later(*two, *three)));
                }
            }
        }
        let at = |state| ConsentRecord { occurred_at: 1, state };
        assert_eq!(later(at(ConsentState::OptedOut), at(ConsentState::Withdrawn)), at(ConsentState::Withdrawn));
        assert_eq!(later(at(ConsentState::OptedIn), at(ConsentState::OptedOut)), at(ConsentState::OptedOut));
        assert_eq!(
            later(ConsentRecord { occurred_at: 2, ..at(ConsentState::OptedIn) }, at(ConsentState::Withdrawn)).state,
            ConsentState::OptedIn
        );
    }

    #[test]
    fn order_and_grouping_of_drops_do_not_change_the_table() {
        let mut numbers = Numbers(1);
        for round in 0..2000 {
            let width = (round % 2 == 0).then_some(4);
            let drops: Vec<RecordColumns> = (0..numbers.below(5) + 1).map(|_| numbers.run(width)).collect();
            let expected = model(&drops);
            let mut forth = RecordColumns::new(width);
            for drop in &drops {
                forth = forth.merged(&drop.clone().sorted()).0;
            }
            assert_is(&forth, &expected);
            let mut back = RecordColumns::new(width);
            for drop in drops.iter().rev() {
                back = back.merged(&drop.clone().sorted()).0;
                let (again, changed) = back.clone().merged(&drop.clone().sorted());
                assert_eq!((&again, changed), (&back, Changed::default()), "merging twice changes nothing");
            }
            assert_is(&back, &expected);
            let mut together = RecordColumns::new(width);
            drops.iter().for_each(|drop| together.extend(drop));
            assert_is(&together.sorted(), &expected);
            let partition_by_bucket = forth.partition_by_bucket(4);
            assert_eq!(partition_by_bucket.iter().map(RecordColumns::len).sum::<usize>(), expected.len());
            for (number, part) in partition_by_bucket.iter().enumerate() {
                assert!(part.records().all(|(key, _)| bucket::of(key, 4) as usize == number));
                assert_eq!(part.clone().sorted(), *part);
            }
        }
    }

    #[test]
    fn changed_keys_are_counted() {
        let run = |records: &[(&str, i64)]| {
            let mut run = RecordColumns::new(None);
            let word = |occurred_at| ConsentRecord { occurred_at, state: ConsentState::OptedOut };
            records.iter().for_each(|(key, at)| run.push(key.as_bytes(), word(*at)));
            run.sorted()
        };
        let (all, changed) =
            run(&[("a", 1), ("b", 5), ("d", 1)]).merged(&run(&[("a", 2), ("b", 4), ("c", 1), ("e", 1)]));
        assert_eq!((all.len(), changed), (5, Changed { keys: 3, returning: 0 }));
    }

    #[test]
    fn only_people_who_were_out_return() {
        let run = |records: &[(&str, i64, ConsentState)]| {
            let mut run = RecordColumns::new(None);
            for (key, occurred_at, state) in records {
                run.push(key.as_bytes(), ConsentRecord { occurred_at: *occurred_at, state: *state });
            }
            run
        };
        use ConsentState::{OptedIn, OptedOut, Withdrawn};
        let table = run(&[("a", 1, OptedOut), ("b", 1, Withdrawn), ("c", 1, OptedIn), ("d", 5, OptedOut)]);
        let changes =
            run(&[("a", 2, OptedIn), ("b", 2, OptedIn), ("c", 2, OptedIn), ("d", 2, OptedIn), ("e", 2, OptedIn)]);
        let (_, changed) = table.merged(&changes);
        assert_eq!(changed, Changed { keys: 4, returning: 2 }, "d's record is older, and e was never out");
    }
}

//! Reproducible random numbers, and the number of cases that the exhaustive tests run.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;

/// Returns the whole number in an environment variable, or `None` if the variable isn't set. Panics if it isn't a
/// number.
pub fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a whole number")))
}

/// Returns how many schedules or histories an exhaustive test runs: the environment variable `name`, or `default` if it
/// isn't set.
pub fn count(name: &str, default: u64) -> u64 {
    variable(name).unwrap_or(default)
}

/// Runs the history of a seed. If it panics, prints the seed, so that the history can be repeated.
pub async fn named<T>(seed: u64, history: impl Future<Output = T>) -> T {
    AssertUnwindSafe(history).catch_unwind().await.unwrap_or_else(|panic| {
        eprintln!("seed {seed}");
        resume_unwind(panic)
    })
}

/// SplitMix64 (Steele, Lea and Flood): the same numbers for the same seed, on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Returns a number in `0..end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Returns one of these values, or `None` if the slice is empty.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len() as u64) as usize])
    }
}

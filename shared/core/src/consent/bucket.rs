//! Which bucket a key is in, and how many buckets a table has.
//!
//! The hash is XXH64 with seed 0 over the key's bytes ([`super::key`]); the bucket is the hash modulo the number of
//! buckets, which is a power of two and stands in each manifest. Both are fixed for good.

use twox_hash::XxHash64;

pub fn of(key: &[u8], buckets: u32) -> u32 {
    (XxHash64::oneshot(0, key) % u64::from(buckets.max(1))) as u32
}

/// Rows that a bucket is made for. A refresh pays a request for every bucket, touched or not ($0.000005), and what it
/// pays for rewriting a row is less than a hundred-thousandth of that: by dollars one bucket would do. More of them let
/// a refresh use all cores, and keep what one core holds small.
const ROWS: u64 = 1 << 16;

/// The most that a table is given by itself: 64 copies are $0.0003 a refresh.
pub const MOST: u32 = 64;

/// The number for a table of so many rows: 1 up to 65,536 rows, 16 for a million, 64 from 2.1 million on.
pub fn usual(rows: u64) -> u32 {
    let wanted = rows.div_ceil(ROWS).next_power_of_two();
    wanted.clamp(1, u64::from(MOST)) as u32
}

/// The number for the next generation of a table that has `now` buckets. The owner's word counts; else the number
/// grows only when it is four times too small, because changing it rewrites the whole table, and never shrinks.
pub fn next(now: Option<u32>, set: Option<u32>, rows: u64) -> u32 {
    match (set, now) {
        (Some(set), _) => set,
        (None, None) => usual(rows),
        (None, Some(now)) if usual(rows) >= now.saturating_mul(4) => usual(rows),
        (None, Some(now)) => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(XxHash64::oneshot(0, b""), 0xef46_db37_51d8_e999);
        assert_eq!(of(&(42_u64 ^ 1 << 63).to_be_bytes(), 1 << 31), of(&(42_u64 ^ 1 << 63).to_be_bytes(), 1 << 31));
        assert!((0..1000_u64).all(|key| of(&key.to_be_bytes(), 1) == 0 && of(&key.to_be_bytes(), 64) < 64));
    }

    #[test]
    fn a_table_is_given_buckets_by_its_rows_and_keeps_them_for_long() {
        assert_eq!([0, 1, 131_072, 131_073, 1_000_000, 10_000_000, u64::MAX >> 1].map(usual), [1, 1, 2, 4, 16, 64, 64]);
        assert_eq!(next(None, None, 1_000_000), 16);
        assert_eq!(next(Some(8), None, 1_000_000), 8);
        assert_eq!(next(Some(4), None, 1_000_000), 16);
        assert_eq!(next(Some(64), None, 0), 64);
        assert_eq!(next(Some(64), Some(16), 0), 16);
    }
}

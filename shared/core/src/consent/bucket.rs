//! Assigns keys to buckets, and decides how many buckets a table has.
//!
//! The bucket of a key is the XXH64 hash of its bytes ([`super::key`]), with seed 0, modulo the number of buckets. That
//! number is a power of two and is stored in each manifest. Neither the hash nor the modulo may ever change, because
//! published tables depend on both.

use twox_hash::XxHash64;

/// Returns the bucket of a key.
pub fn of(key: &[u8], buckets: u32) -> u32 {
    (XxHash64::oneshot(0, key) % u64::from(buckets.max(1))) as u32
}

/// The target number of rows in a bucket.
///
/// A refresh makes one request for every bucket, changed or not, which costs $0.000005. Rewriting a row costs less than
/// a hundred-thousandth of that, so a single bucket would be the cheapest. But more buckets let a refresh use all
/// cores, and limit the memory that each core needs.
const ROWS_PER_BUCKET: u64 = 1 << 16;

/// The maximum number of buckets if the dataset doesn't set the number. At $0.000005 each, copying 64 buckets costs
/// $0.0003 per refresh.
pub const MOST: u32 = 64;

/// Returns the number of buckets for a table with this many rows: 1 for up to 65,536 rows, 16 for a million, 64 for 2.1
/// million or more.
pub fn usual(rows: u64) -> u32 {
    let wanted = rows.div_ceil(ROWS_PER_BUCKET).next_power_of_two();
    wanted.clamp(1, u64::from(MOST)) as u32
}

/// Returns the number of buckets for the next generation of a table that now has `now` buckets. `set`, the number in
/// the dataset's settings, takes precedence. Without it, the number never shrinks, and it grows only if [`usual`] is at
/// least four times as large, because a change rewrites the whole table.
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
    use crate::consent::key::{Key, Type, Value};

    /// The literals are from another implementation of XXH64. Published tables depend on them: with another hash, one
    /// person could be in two buckets.
    #[test]
    fn bucket_of_a_key_never_changes() {
        let key = |values: &[Value]| {
            let kind = |value: &Value| if matches!(value, Value::Text(_)) { Type::String } else { Type::Bigint };
            let columns = values.iter().map(|value| (String::new(), kind(value))).collect();
            let (key, mut bytes) = (Key { columns }, Vec::new());
            values.iter().enumerate().for_each(|(at, value)| key.push(at, *value, &mut bytes).unwrap());
            bytes
        };
        for (values, of_many, of_64) in [
            (&[Value::Whole(0)][..], 1_345_985_804, 12),
            (&[Value::Whole(42)], 136_740_575, 31),
            (&[Value::Whole(-1)], 791_943_572, 20),
            (&[Value::Whole(i64::MAX)], 930_334_409, 9),
            (&[Value::Text("person-42")], 705_420_327, 39),
            (&[Value::Text("a-person-with-a-long-identifier@example.com")], 1_732_060_436, 20),
            (&[Value::Text("jp"), Value::Whole(42)], 1_089_883_736, 24),
        ] {
            let key = key(values);
            assert_eq!((of(&key, 1 << 31), of(&key, 64), of(&key, 1)), (of_many, of_64, 0), "{values:?}");
        }
        assert_eq!(of(&(7_u32 ^ 1 << 31).to_be_bytes(), 64), 61, "an int");
    }

    #[test]
    fn number_of_buckets_follows_the_rows_and_grows_only_in_large_steps() {
        assert_eq!([0, 1, 131_072, 131_073, 1_000_000, 10_000_000, u64::MAX >> 1].map(usual), [1, 1, 2, 4, 16, 64, 64]);
        assert_eq!(next(None, None, 1_000_000), 16);
        assert_eq!(next(Some(8), None, 1_000_000), 8);
        assert_eq!(next(Some(4), None, 1_000_000), 16);
        assert_eq!(next(Some(64), None, 0), 64);
        assert_eq!(next(Some(64), Some(16), 0), 16);
    }
}

//! Decodes single values: the inverse of PostgreSQL's `…_send` functions.

use crate::value_fault::ValueFault;

pub const WRONG_LENGTH: ValueFault = ValueFault::Malformed("a value with the wrong length");

/// PostgreSQL's epoch, 2000-01-01, in days and in microseconds since 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Returns the bytes as an array. Fails if there are more or fewer than `N`.
#[inline]
pub fn exactly<const N: usize>(sent: &[u8]) -> Result<[u8; N], ValueFault> {
    sent.try_into().map_err(|_| WRONG_LENGTH)
}

/// Converts days since 2000-01-01 to days since 1970-01-01.
pub fn date(days: i32) -> Result<i32, ValueFault> {
    match days {
        i32::MIN | i32::MAX => Err(ValueFault::Unrepresentable("an infinite date: replace it in the query")),
        _ => days.checked_add(EPOCH_DAYS).ok_or(ValueFault::Malformed("a date outside PostgreSQL's range")),
    }
}

/// Converts microseconds since 2000-01-01 to microseconds since 1970-01-01.
pub fn timestamp(micros: i64) -> Result<i64, ValueFault> {
    match micros {
        i64::MIN | i64::MAX => Err(ValueFault::Unrepresentable("an infinite timestamp: replace it in the query")),
        _ => micros
            .checked_add(EPOCH_MICROS)
            .ok_or(ValueFault::Unrepresentable("a timestamp after the year 294246: replace it in the query")),
    }
}

/// Formats a UUID as lower-case hexadecimal digits with hyphens.
#[inline]
pub fn uuid(sent: [u8; 16]) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in sent.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_infinities_are_unrepresentable_and_the_values_beside_them_are_not() {
        for infinite in [i32::MIN, i32::MAX] {
            assert!(matches!(
                date(infinite),
                Err(ValueFault::Unrepresentable("an infinite date: replace it in the query"))
            ));
        }
        for infinite in [i64::MIN, i64::MAX] {
            let fault = "an infinite timestamp: replace it in the query";
            assert!(matches!(timestamp(infinite), Err(ValueFault::Unrepresentable(found)) if found == fault));
        }
        assert!(matches!((date(i32::MIN + 1), date(-EPOCH_DAYS)), (Ok(_), Ok(0))));
        assert!(matches!((timestamp(i64::MIN + 1), timestamp(-EPOCH_MICROS)), (Ok(_), Ok(0))));
    }
}

//! Decodes PostgreSQL's binary `numeric` (`numeric_send` in `src/backend/utils/adt/numeric.c`). The value consists of
//! four 16-bit numbers (number of digits, weight of the first digit, sign, display scale), then the digits in base
//! 10,000.

use crate::value_fault::ValueFault;

const NEGATIVE: u16 = 0x4000;

struct Numeric<'a> {
    /// Big-endian base-10,000 digits, each 0..=9999.
    digits: &'a [[u8; 2]],
    /// The weight of the first digit, as an exponent of 10,000.
    weight: i32,
    negative: bool,
    /// The number of decimal digits after the point.
    display: usize,
}

/// Reads a number. The inner `Err` is the name of a special value: NaN or an infinity.
fn read(bytes: &[u8]) -> Result<Result<Numeric<'_>, &'static str>, ValueFault> {
    let malformed = ValueFault::Malformed("a numeric with the wrong length");
    let Some((head, rest)) = bytes.split_first_chunk::<8>() else { return Err(malformed) };
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (digits, left) = rest.as_chunks::<2>();
    if !left.is_empty() || digits.len() != usize::from(word(0)) {
        return Err(malformed);
    }
    let negative = match word(4) {
        0 => false,
        NEGATIVE => true,
        0xC000 => return Ok(Err("NaN")),
        0xD000 => return Ok(Err("Infinity")),
        0xF000 => return Ok(Err("-Infinity")),
        _ => return Err(ValueFault::Malformed("a numeric with an unknown sign")),
    };
    if digits.iter().any(|digit| u16::from_be_bytes(*digit) > 9999) {
        return Err(ValueFault::Malformed("a numeric with a digit above 9999"));
    }
    let weight = i32::from(word(2) as i16);
    Ok(Ok(Numeric { digits, weight, negative, display: usize::from(word(6) & 0x3fff) }))
}

/// Returns the number times 10^`scale`. Fails unless the result is exact and has at most `precision` digits.
pub fn decimal(bytes: &[u8], precision: u8, scale: u8) -> Result<i128, ValueFault> {
    let number = read(bytes)?.map_err(|_| {
        ValueFault::Unrepresentable("NaN or infinity, which a decimal can't represent: replace it in the query")
    })?;
    let too_many_digits = ValueFault::Malformed("a numeric with more digits than its column allows");
    let mut sum: i128 = 0;
    // The power of ten that the current base-10,000 digit stands for, relative to the last decimal place that is kept.
    let mut power = 4 * number.weight + i32::from(scale);
    for digit in number.digits {
        let digit = i128::from(u16::from_be_bytes(*digit));
        let (shift, value) = match power {
            0.. => (10_000, digit),
            -3..0 => {
                let cut = 10_i128.pow(-power as u32);
                if digit % cut != 0 {
                    return Err(too_many_digits);
                }
                (10_000 / cut, digit / cut)
            }
            _ if digit == 0 => break,
            _ => return Err(too_many_digits),
        };
        sum = sum.checked_mul(shift).and_then(|sum| sum.checked_add(value)).ok_or(too_many_digits)?;
        power -= 4;
    }
    // PostgreSQL omits trailing zeros. `power` is now four below that of the last digit.
    if let Ok(zeros @ 1..) = u32::try_from(power + 4)
        && sum != 0
    {
        sum = 10_i128.checked_pow(zeros).and_then(|zeros| sum.checked_mul(zeros)).ok_or(too_many_digits)?;
    }
    if sum >= 10_i128.pow(u32::from(precision)) {
        return Err(too_many_digits);
    }
    Ok(if number.negative { -sum } else { sum })
}

/// Appends the number in PostgreSQL's text form.
pub fn text(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ValueFault> {
    let number = match read(bytes)? {
        Ok(number) => number,
        Err(name) => {
            out.extend_from_slice(name.as_bytes());
            return Ok(());
        }
    };
    // Returns the four decimal digits of the base-10,000 digit at a power of 10,000. A digit that wasn't sent is zero.
    let group = |power: i32| {
        let at = usize::try_from(number.weight - power).ok().and_then(|at| number.digits.get(at));
        let digit = at.map_or(0, |digit| u16::from_be_bytes(*digit));
        [digit / 1000, digit / 100 % 10, digit / 10 % 10, digit % 10].map(|digit| b'0' + digit as u8)
    };
    if number.negative {
        out.push(b'-');
    }
    let start = out.len();
    for power in (0..=number.weight).rev() {
        let group = group(power);
        // Leading zeros are not printed.
        let skipped = if out.len() == start { group.iter().position(|c| *c != b'0').unwrap_or(4) } else { 0 };
        out.extend_from_slice(&group[skipped..]);
    }
    if out.len() == start {
        out.push(b'0');
    }
    if number.display > 0 {
        out.push(b'.');
        let point = out.len();
        let mut power = -1;
        while out.len() - point < number.display {
            out.extend_from_slice(&group(power));
            power -= 1;
        }
        out.truncate(point + number.display);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(weight: i16, sign: u16, display: u16, digits: &[u16]) -> Vec<u8> {
        [digits.len() as u16, weight as u16, sign, display]
            .iter()
            .chain(digits)
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    fn printed(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        text(bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_and_texts_are_exact() {
        for (bytes, precision, scale, number, in_text) in [
            (encode(0, 0, 0, &[]), 5, 2, 0, "0"),
            (encode(0, 0, 3, &[]), 5, 3, 0, "0.000"),
            (encode(0, NEGATIVE, 2, &[12, 3400]), 5, 2, -1234, "-12.34"),
            (encode(-1, 0, 4, &[1]), 4, 4, 1, "0.0001"),
            (encode(-2, 0, 5, &[1000]), 5, 5, 1, "0.00001"),
            (encode(2, 0, 0, &[1]), 9, 0, 100_000_000, "100000000"),
            (encode(1, 0, 1, &[1, 0, 5000]), 10, 1, 100_005, "10000.5"),
            (
                encode(9, 0, 0, &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]),
                38,
                0,
                10_i128.pow(38) - 1,
                "",
            ),
            (
                encode(-1, 0, 38, &[9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9900]),
                38,
                38,
                10_i128.pow(38) - 1,
                "",
            ),
        ] {
            assert_eq!(decimal(&bytes, precision, scale).unwrap(), number);
            if !in_text.is_empty() {
                assert_eq!(printed(&bytes), in_text);
            }
        }
        assert_eq!(printed(&encode(0, 0xC000, 0, &[])), "NaN");
        assert_eq!(printed(&encode(0, 0xF000, 0, &[])), "-Infinity");
    }

    #[test]
    fn numbers_that_do_not_fit_are_errors_without_a_panic() {
        assert!(matches!(decimal(&encode(0, 0xC000, 0, &[]), 5, 2), Err(ValueFault::Unrepresentable(_))));
        for bytes in [
            encode(0, 0, 3, &[1, 2340]),
            encode(0, 0, 0, &[1000]),
            encode(-5, 0, 20, &[1]),
            encode(i16::MAX, 0, 0, &[1]),
            encode(i16::MIN, 0, 0, &[1]),
            encode(30, 0, 0, &[9999; 31]),
            encode(0, 0, 0, &[10_000]),
            encode(0, 0x1234, 0, &[1]),
            encode(0, 0, 0, &[1])[..9].to_vec(),
            Vec::new(),
        ] {
            assert!(matches!(decimal(&bytes, 5, 2), Err(ValueFault::Malformed(_))), "{bytes:?}");
        }
        assert_eq!(printed(&encode(i16::MAX, 0, 0x3fff, &[1])).len(), 32_768 * 4 - 3 + 1 + 0x3fff);
    }
}

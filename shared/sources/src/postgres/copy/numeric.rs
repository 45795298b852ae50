//! PostgreSQL's binary `numeric` (`numeric_send` in `src/backend/utils/adt/numeric.c`): four numbers of 16 bits
//! (count of digits, weight of the first, sign, scale to display) and the digits, to the base of 10,000.

use super::value::Fault;

const NEGATIVE: u16 = 0x4000;

struct Numeric<'a> {
    /// Pairs of bytes, each 0..=9999.
    digits: &'a [[u8; 2]],
    /// The power of 10,000 of the first digit.
    weight: i32,
    negative: bool,
    /// Decimal digits after the point.
    display: usize,
}

/// Either a number or the name of what is none.
fn read(bytes: &[u8]) -> Result<Result<Numeric<'_>, &'static str>, Fault> {
    let malformed = Fault::Malformed("a numeric of the wrong length");
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
        _ => return Err(Fault::Malformed("a numeric of an unknown sign")),
    };
    if digits.iter().any(|digit| u16::from_be_bytes(*digit) > 9999) {
        return Err(Fault::Malformed("a numeric with a digit above 9999"));
    }
    let weight = i32::from(word(2) as i16);
    Ok(Ok(Numeric { digits, weight, negative, display: usize::from(word(6) & 0x3fff) }))
}

/// The number times 10^`scale`, exactly.
pub fn decimal(bytes: &[u8], precision: u8, scale: u8) -> Result<i128, Fault> {
    let number = read(bytes)?.map_err(|_| {
        Fault::Unrepresentable("NaN and infinity have no place in a decimal: replace them in the query")
    })?;
    let too_long = Fault::Malformed("a numeric with more digits than its column has");
    let mut sum: i128 = 0;
    // The power of ten that the digit stands at, counted from the last place that is kept.
    let mut power = 4 * number.weight + i32::from(scale);
    for digit in number.digits {
        let digit = i128::from(u16::from_be_bytes(*digit));
        let (shift, value) = match power {
            0.. => (10_000, digit),
            -3..0 => {
                let cut = 10_i128.pow(-power as u32);
                if digit % cut != 0 {
                    return Err(too_long);
                }
                (10_000 / cut, digit / cut)
            }
            _ if digit == 0 => break,
            _ => return Err(too_long),
        };
        sum = sum.checked_mul(shift).and_then(|sum| sum.checked_add(value)).ok_or(too_long)?;
        power -= 4;
    }
    // Trailing zeros are not sent. `power` is now four below the last digit's.
    if let Ok(zeros @ 1..) = u32::try_from(power + 4)
        && sum != 0
    {
        sum = 10_i128.checked_pow(zeros).and_then(|zeros| sum.checked_mul(zeros)).ok_or(too_long)?;
    }
    if sum >= 10_i128.pow(u32::from(precision)) {
        return Err(too_long);
    }
    Ok(if number.negative { -sum } else { sum })
}

/// The number as PostgreSQL prints it.
pub fn text(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let number = match read(bytes)? {
        Ok(number) => number,
        Err(name) => {
            out.extend_from_slice(name.as_bytes());
            return Ok(());
        }
    };
    // The decimal digits of the digit at a power of 10,000; what was not sent is zero.
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
        // Zeros in front of the first decimal digit are not shown.
        let shown = if out.len() == start { group.iter().position(|c| *c != b'0').unwrap_or(4) } else { 0 };
        out.extend_from_slice(&group[shown..]);
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

    fn sent(weight: i16, sign: u16, display: u16, digits: &[u16]) -> Vec<u8> {
        [digits.len() as u16, weight as u16, sign, display]
            .iter()
            .chain(digits)
            .flat_map(|word| word.to_be_bytes())
            .collect()
    }

    fn shown(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        text(bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_exact() {
        for (bytes, precision, scale, number, in_text) in [
            (sent(0, 0, 0, &[]), 5, 2, 0, "0"),
            (sent(0, 0, 3, &[]), 5, 3, 0, "0.000"),
            (sent(0, NEGATIVE, 2, &[12, 3400]), 5, 2, -1234, "-12.34"),
            (sent(-1, 0, 4, &[1]), 4, 4, 1, "0.0001"),
            (sent(-2, 0, 5, &[1000]), 5, 5, 1, "0.00001"),
            (sent(2, 0, 0, &[1]), 9, 0, 100_000_000, "100000000"),
            (sent(1, 0, 1, &[1, 0, 5000]), 10, 1, 100_005, "10000.5"),
            (
                sent(9, 0, 0, &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]),
                38,
                0,
                10_i128.pow(38) - 1,
                "",
            ),
            (
                sent(-1, 0, 38, &[9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9900]),
                38,
                38,
                10_i128.pow(38) - 1,
                "",
            ),
        ] {
            assert_eq!(decimal(&bytes, precision, scale).unwrap(), number);
            if !in_text.is_empty() {
                assert_eq!(shown(&bytes), in_text);
            }
        }
        assert_eq!(shown(&sent(0, 0xC000, 0, &[])), "NaN");
        assert_eq!(shown(&sent(0, 0xF000, 0, &[])), "-Infinity");
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_no_panic() {
        assert!(matches!(decimal(&sent(0, 0xC000, 0, &[]), 5, 2), Err(Fault::Unrepresentable(_))));
        for bytes in [
            sent(0, 0, 3, &[1, 2340]),
            sent(0, 0, 0, &[1000]),
            sent(-5, 0, 20, &[1]),
            sent(i16::MAX, 0, 0, &[1]),
            sent(i16::MIN, 0, 0, &[1]),
            sent(30, 0, 0, &[9999; 31]),
            sent(0, 0, 0, &[10_000]),
            sent(0, 0x1234, 0, &[1]),
            sent(0, 0, 0, &[1])[..9].to_vec(),
            Vec::new(),
        ] {
            assert!(matches!(decimal(&bytes, 5, 2), Err(Fault::Malformed(_))), "{bytes:?}");
        }
        assert_eq!(shown(&sent(i16::MAX, 0, 0x3fff, &[1])).len(), 32_768 * 4 - 3 + 1 + 0x3fff);
    }
}

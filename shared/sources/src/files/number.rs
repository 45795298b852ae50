//! The digits of numbers that are written as text, and whether a double keeps them.

use std::io::Write;

use super::text;

/// The number of digits that a decimal needs before and after its decimal point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits {
    pub whole: u32,
    pub fraction: u32,
}

impl Digits {
    /// Returns the digits that a decimal needs to hold the values of both.
    pub fn and(self, other: Digits) -> Digits {
        Digits { whole: self.whole.max(other.whole), fraction: self.fraction.max(other.fraction) }
    }

    pub fn total(self) -> u64 {
        u64::from(self.whole) + u64::from(self.fraction)
    }
}

/// The parts of a number such as `-12.50e+3`.
struct Parts<'a> {
    is_negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: Option<i64>,
}

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (whole, rest) = digits.split_at(leading_digits(digits));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(leading_digits(rest)),
        _ => (&[][..], rest),
    };
    let exponent = match rest {
        [] => None,
        [b'e' | b'E', rest @ ..] => Some(text::whole(rest, false).ok()?),
        _ => return None,
    };
    (whole.len() + fraction.len() > 0).then_some(Parts { is_negative, whole, fraction, exponent })
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}

/// Returns whether the text is a finite number of any size.
pub fn is_number(text: &[u8]) -> bool {
    parts(text).is_some()
}

/// Returns the digits that a decimal needs to hold the number and print it with the same digits, possibly followed by
/// zeros. Returns `None` for a number with an exponent, and for a zero with a sign.
pub fn digits(text: &[u8]) -> Option<Digits> {
    let Parts { is_negative, whole, fraction, exponent } = parts(text)?;
    let is_zero = || whole.iter().chain(fraction).all(|digit| *digit == b'0');
    if exponent.is_some() || is_negative && is_zero() {
        return None;
    }
    let whole = whole.iter().skip_while(|digit| **digit == b'0').count();
    Some(Digits { whole: u32::try_from(whole).ok()?, fraction: u32::try_from(fraction.len()).ok()? })
}

/// The number of significant digits that a double always keeps, unless the number is extremely small or large.
const KEPT_DIGITS: usize = 15;

/// Returns whether the double that is nearest to the number prints with the same significant digits. Zeros at the end
/// of a fraction are significant, unless the fraction is a single zero: doubles print as `2.0`, but never as `2.00`.
pub fn prints_back(text: &[u8]) -> bool {
    double(text).is_some()
}

/// Returns the double that is nearest to the number, if [`prints_back`] holds.
pub fn double(text: &[u8]) -> Option<f64> {
    let Parts { whole, fraction, exponent, .. } = parts(text)?;
    if fraction.len() > 1 && fraction.ends_with(b"0") {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let fraction = if fraction == b"0" { &[][..] } else { fraction };
    let is_nonzero = |digit: &u8| *digit != b'0';
    let leading = whole.iter().position(is_nonzero);
    let leading = leading.or_else(|| Some(whole.len() + fraction.iter().position(is_nonzero)?));
    // Zero prints as zero.
    let Some(leading) = leading else { return Some(value) };
    let last = fraction.iter().rposition(is_nonzero).map(|at| whole.len() + at);
    let last = last.or_else(|| whole.iter().rposition(is_nonzero))? - leading;
    // The value is 0.DIGITS × 10^magnitude.
    let magnitude = exponent.unwrap_or(0).saturating_add(whole.len() as i64).saturating_sub(leading as i64);
    if last < KEPT_DIGITS && magnitude.unsigned_abs() < 290 {
        return Some(value);
    }
    // At most 17 digits with their point, and an exponent of five bytes.
    let mut buffer = [0; 32];
    let mut free = &mut buffer[..];
    write!(free, "{:e}", value.abs()).ok()?;
    let unused = free.len();
    let printed = buffer.get(..buffer.len() - unused)?;
    let point = printed.iter().position(|byte| *byte == b'e')?;
    let (mantissa, printed_exponent) = printed.split_at(point);
    let digits = whole.iter().chain(fraction).skip(leading).take(last + 1);
    let is_same = mantissa.iter().filter(|byte| **byte != b'.').eq(digits)
        && text::whole(&printed_exponent[1..], false) == Ok(magnitude.saturating_sub(1));
    is_same.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn double_prints_back_only_the_digits_that_it_holds() {
        for text in [
            "0",
            "0.0",
            "-0",
            "1",
            "1200",
            "1.5",
            "-1.5",
            "2.0",
            ".5",
            "5.",
            "1e-07",
            "1.2E5",
            "0.1",
            "1e300",
            "1E+22",
            "123456789012345",
            "0.30000000000000004",
            "5e-324",
            "1.7976931348623157e308",
            "9007199254740992",
            "0.000001",
            "1234567890123456.5",
            "100000000000000000000000",
        ] {
            assert!(prints_back(text.as_bytes()), "{text}");
        }
        for text in [
            "1.10",
            "0.00",
            "1.50e3",
            "1234567890123456.78",
            "9007199254740993",
            "0.1000000000000000055",
            "1e-400",
            "1e400",
            "1.0e999999999999999999",
            "4.9e-324",
            "nan",
            "inf",
            "",
            "-",
            ".",
            "1.2.3",
            "1x",
            "1e",
            "1e1.5",
        ] {
            assert!(!prints_back(text.as_bytes()), "{text}");
        }
    }

    /// Compares the shortcut with formatting the double.
    #[test]
    fn up_to_15_digits_always_print_back() {
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let digits = seed % 1_000_000_000_000_000;
            let text = format!("{digits}e{}", (seed >> 50) as i64 % 250 - 125);
            let value: f64 = text.parse().unwrap();
            let printed = format!("{value:e}");
            let trimmed = digits.to_string();
            let (mantissa, _) = printed.split_once('e').unwrap();
            assert_eq!(mantissa.replace('.', ""), trimmed.trim_end_matches('0'), "{text}");
            assert!(prints_back(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn decimal_holds_the_digits_before_and_after_the_point() {
        for (text, expected) in [
            ("1.10", Some((1, 2))),
            ("-0012.5", Some((2, 1))),
            ("0.001", Some((0, 3))),
            ("0.00", Some((0, 2))),
            ("17", Some((2, 0))),
            ("-0.00", None),
            ("1e5", None),
            ("x", None),
        ] {
            let found = digits(text.as_bytes()).map(|digits| (digits.whole, digits.fraction));
            assert_eq!(found, expected, "{text}");
        }
    }
}

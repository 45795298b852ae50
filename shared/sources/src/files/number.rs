//! The digits of numbers that are written as text, and whether a double keeps them.

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
    let (mantissa, exponent) = match digits.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&digits[..at], Some(text::whole(&digits[at + 1..], false).ok()?)),
        None => (digits, None),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    let is_number = whole.iter().chain(fraction).all(u8::is_ascii_digit) && whole.len() + fraction.len() > 0;
    is_number.then_some(Parts { is_negative, whole, fraction, exponent })
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

/// The number of significant digits that a double always keeps, unless it is extremely small or large.
const KEPT_DIGITS: usize = 15;

/// Returns whether the double that is nearest to the number prints with the same significant digits. Zeros at the end
/// of a fraction are significant, unless the fraction is a single zero: doubles print as `2.0`, but never as `2.00`.
pub fn prints_back(text: &[u8]) -> bool {
    let Some(Parts { whole, fraction, exponent, .. }) = parts(text) else { return false };
    if fraction.len() > 1 && fraction.ends_with(b"0") {
        return false;
    }
    let exponent = exponent.unwrap_or(0);
    let fraction = if fraction == b"0" { &[][..] } else { fraction };
    // The value is 0.DIGITS × 10^magnitude.
    let leading = whole.iter().chain(fraction).take_while(|digit| **digit == b'0').count();
    let digits = || whole.iter().chain(fraction).skip(leading);
    let nonzero = digits().enumerate().filter(|(_, digit)| **digit != b'0');
    let Some((last, _)) = nonzero.last() else { return true };
    let magnitude = exponent.saturating_add(whole.len() as i64).saturating_sub(leading as i64);
    if last < KEPT_DIGITS && magnitude.unsigned_abs() < 290 {
        return true;
    }
    let Some(value) = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()) else { return false };
    let printed = format!("{:e}", value.abs());
    let Some((mantissa, printed_exponent)) = printed.split_once('e') else { return false };
    let printed_digits = mantissa.bytes().filter(|byte| *byte != b'.');
    printed_exponent.parse() == Ok(magnitude.saturating_sub(1)) && printed_digits.eq(digits().take(last + 1).copied())
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

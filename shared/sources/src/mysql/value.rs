//! Converts single values from MySQL's representation to Arrow's, or to text.

use mysql_async::Value;

use crate::value_fault::ValueFault;

pub const NO_DATE: ValueFault =
    ValueFault::Unrepresentable("a date that doesn't exist (0000-00-00, or no such day): replace it in the query");

const TOO_MANY_DIGITS: ValueFault = ValueFault::Malformed("a decimal with more digits than its column allows");

/// Returns the text of a value that the text protocol has sent, or an empty string for NULL.
pub fn text(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

/// Returns the days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date
/// algorithms").
pub fn days(year: u16, month: u8, day: u8) -> Result<i32, ValueFault> {
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err(NO_DATE);
    }
    let (year, month) = (i32::from(year) - i32::from(month <= 2), i32::from(month));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i32::from(day) - 1;
    Ok(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468)
}

fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the time of day in microseconds.
pub fn clock(hour: u8, minute: u8, second: u8, micros: u32) -> i64 {
    ((i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second)) * 1_000_000 + i64::from(micros)
}

/// Parses a decimal and returns its exact value times 10^`scale`. Fails if the decimal has more digits than `precision`
/// and `scale` allow.
pub fn decimal(text: &[u8], precision: u8, scale: u8) -> Result<i128, ValueFault> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut sum: i128 = 0;
    let mut fraction_digits = None;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                let digit = i128::from(byte - b'0');
                if let Some(fraction_digits) = &mut fraction_digits {
                    *fraction_digits += 1;
                }
                if fraction_digits > Some(scale) {
                    return Err(TOO_MANY_DIGITS);
                }
                sum = sum.checked_mul(10).and_then(|sum| sum.checked_add(digit)).ok_or(TOO_MANY_DIGITS)?;
            }
            b'.' if fraction_digits.is_none() => fraction_digits = Some(0),
            _ => return Err(ValueFault::Malformed("a malformed decimal")),
        }
    }
    if digits.is_empty() {
        return Err(ValueFault::Malformed("a malformed decimal"));
    }
    let missing = u32::from(scale - fraction_digits.unwrap_or(0));
    sum = 10_i128.checked_pow(missing).and_then(|zeros| sum.checked_mul(zeros)).ok_or(TOO_MANY_DIGITS)?;
    if sum >= 10_i128.pow(u32::from(precision)) {
        return Err(TOO_MANY_DIGITS);
    }
    Ok(if negative { -sum } else { sum })
}

/// Returns the number that a bit value encodes in up to 8 bytes, most significant first.
pub fn bits(bytes: &[u8]) -> Result<u64, ValueFault> {
    if bytes.len() > 8 {
        return Err(ValueFault::Malformed("a bit value with more than 64 bits"));
    }
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A `time`: whether it is negative, then days, hours, minutes, seconds and microseconds.
pub type Time = (bool, u32, u8, u8, u8, u32);

/// Appends a time as MySQL prints it, with `digits` fractional digits. For an expression, MySQL reports 31 or 39
/// instead of the number of digits; the time is then printed with six fractional digits, or none if the microseconds
/// are 0.
pub fn time((negative, days, hours, minutes, seconds, micros): Time, digits: u8, out: &mut Vec<u8>) {
    use std::io::Write;
    let sign = if negative { "-" } else { "" };
    let hours = u64::from(days) * 24 + u64::from(hours);
    // Writing to a `Vec` can't fail.
    let _ = write!(out, "{sign}{hours:02}:{minutes:02}:{seconds:02}");
    let digits = match digits {
        0..=6 => digits,
        _ if micros == 0 => 0,
        _ => 6,
    };
    if digits > 0 {
        let part = micros / 10_u32.pow(6 - u32::from(digits));
        let _ = write!(out, ".{part:0width$}", width = usize::from(digits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_1970_and_invalid_dates_are_refused() {
        for (date, found) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((1000, 1, 1), -354_285),
            ((9999, 12, 31), 2_932_896),
            ((0, 3, 1), -719_468),
        ] {
            assert_eq!(days(date.0, date.1, date.2), Ok(found), "{date:?}");
        }
        for date in
            [(0, 0, 0), (2024, 0, 10), (2024, 10, 0), (2023, 2, 29), (1900, 2, 29), (2024, 4, 31), (2024, 13, 1)]
        {
            assert_eq!(days(date.0, date.1, date.2), Err(NO_DATE), "{date:?}");
        }
    }

    #[test]
    fn decimals_are_exact_or_an_error() {
        for (text, precision, scale, found) in [
            ("0", 1, 0, 0),
            ("-12.34", 5, 2, -1234),
            ("12.3", 5, 2, 1230),
            ("00012", 5, 2, 1200),
            (".5", 5, 1, 5),
            ("99999999999999999999999999999999999999", 38, 0, 10_i128.pow(38) - 1),
            ("-0.99999999999999999999999999999999999999", 38, 38, 1 - 10_i128.pow(38)),
        ] {
            assert_eq!(decimal(text.as_bytes(), precision, scale), Ok(found), "{text}");
        }
        for text in ["", "-", "1.234", "1000", "1e5", "1.2.3", "+1", "340282366920938463463374607431768211456"] {
            assert!(decimal(text.as_bytes(), 5, 2).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_has_the_text_form_of_mysql() {
        let of = |value, digits| {
            let mut out = Vec::new();
            time(value, digits, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(of((true, 34, 22, 59, 59, 0), 0), "-838:59:59");
        assert_eq!(of((false, 0, 1, 2, 3, 456_789), 6), "01:02:03.456789");
        assert_eq!(of((false, 0, 1, 2, 3, 40_000), 3), "01:02:03.040");
        assert_eq!(of((false, 0, 0, 0, 0, 0), 31), "00:00:00");
        assert_eq!(of((false, 0, 0, 0, 0, 7), 39), "00:00:00.000007");
    }

    #[test]
    fn bits_are_a_number() {
        assert_eq!(bits(&[1, 2]), Ok(258));
        assert_eq!(bits(&[255; 8]), Ok(u64::MAX));
        assert!(bits(&[0; 9]).is_err());
    }
}

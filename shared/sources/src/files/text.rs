//! Parses one value from text: a CSV field or a JSON scalar. A value is parsed exactly or rejected; only floating-point
//! numbers are rounded.
//!
//! | type | accepted text |
//! |---|---|
//! | boolean | true, false, t, f, 1, 0, in upper or lower case |
//! | tinyint … bigint | decimal digits with an optional sign |
//! | float, double | 1.5, .5, 1e-7, nan, inf, infinity, in upper or lower case; a number too large for the type is an error |
//! | decimal(p,s) | 1.50, 1E+2; decimal places beyond `s` must be zeros |
//! | date | 2024-01-31 |
//! | timestamp | 2024-01-31, 2024-01-31 03:04[:05[.123456]], with T or a space, and Z, UTC, +09, +0900, +09:00 or no zone |
//! | binary | \x and hexadecimal digits, the format of PostgreSQL's `bytea` |
//!
//! A [`Reason`] describes the text but never contains it, because the text may be personal data.

/// Why text was rejected.
pub type Reason = &'static str;

/// The reasons for rejecting a value that has the right kind but that the type can't represent.
pub const UNREPRESENTABLE: [Reason; 3] = [OUT_OF_RANGE, TOO_MANY_DECIMALS, TOO_PRECISE];
/// The reason for rejecting text that isn't UTF-8.
pub const NOT_UTF8: Reason = "not UTF-8";
pub const OUT_OF_RANGE: Reason = "out of range";
const TOO_MANY_DECIMALS: Reason = "more decimal places than the type holds";
const TOO_PRECISE: Reason = "more precise than a microsecond";

/// Parses a whole number. With `canonical`, rejects a plus sign, leading zeros and `-0`, which a number column would
/// lose.
pub fn whole(text: &[u8], canonical: bool) -> Result<i64, Reason> {
    const NOT_WHOLE: Reason = "not a whole number";
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] if !canonical => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || canonical && digits[0] == b'0' && text.len() > 1 {
        return Err(NOT_WHOLE);
    }
    let mut value: i64 = 0;
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(NOT_WHOLE);
        }
        let grown = value.checked_mul(10).and_then(|tens| {
            let digit = i64::from(digit);
            if negative { tens.checked_sub(digit) } else { tens.checked_add(digit) }
        });
        // Text that isn't a number at all is never reported as out of range.
        let is_number = || digits[at..].iter().all(u8::is_ascii_digit);
        value = grown.ok_or_else(|| if is_number() { OUT_OF_RANGE } else { NOT_WHOLE })?;
    }
    Ok(value)
}

/// Parses a floating-point number and returns the binary number nearest to it.
pub fn real<F: std::str::FromStr + Into<f64> + Copy>(text: &[u8]) -> Result<F, Reason> {
    let text = std::str::from_utf8(text).map_err(|_| "not a number")?;
    let value: F = text.parse().map_err(|_| "not a number")?;
    if value.into().is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(OUT_OF_RANGE);
    }
    Ok(value)
}

/// Parses a boolean. With `canonical`, accepts only true and false, not the short forms.
pub fn boolean(text: &[u8], canonical: bool) -> Result<bool, Reason> {
    let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
    match () {
        () if is("true") || !canonical && (is("t") || is("1")) => Ok(true),
        () if is("false") || !canonical && (is("f") || is("0")) => Ok(false),
        () => Err("not true or false"),
    }
}

const NOT_A_NUMBER: Reason = "not a number";

/// Parses a decimal number and returns it in units of 10^-scale.
pub fn decimal(text: &[u8], precision: u8, scale: i8) -> Result<i128, Reason> {
    // Text that isn't a number at all is never reported as out of range.
    let is_number = || {
        let exponent = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
        let digits =
            text[..exponent].strip_prefix(b"-").or(text[..exponent].strip_prefix(b"+")).unwrap_or(&text[..exponent]);
        digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
            && digits.iter().filter(|byte| **byte == b'.').count() <= 1
    };
    units(text, precision, scale).map_err(|why| if is_number() { why } else { NOT_A_NUMBER })
}

fn units(text: &[u8], precision: u8, scale: i8) -> Result<i128, Reason> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], whole(&text[at + 1..], false).map_err(|_| NOT_A_NUMBER)?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let fraction = mantissa.len().saturating_sub(point + 1);
    if mantissa.len() == usize::from(point < mantissa.len()) {
        return Err(NOT_A_NUMBER);
    }
    // The power of ten that scales the digits to units of 10^-scale.
    let mut places = i64::from(scale).saturating_add(exponent).saturating_sub(fraction as i64);
    let mut digits =
        mantissa.iter().enumerate().filter(|(at, _)| *at != point).map(|(_, byte)| byte.wrapping_sub(b'0'));
    let kept = (mantissa.len() as i64 - i64::from(point < mantissa.len())).saturating_add(places.min(0));
    let mut value: i128 = 0;
    for _ in 0..kept {
        let digit = digits.next().filter(|digit| *digit <= 9).ok_or(NOT_A_NUMBER)?;
        value = value.checked_mul(10).and_then(|tens| tens.checked_add(i128::from(digit))).ok_or(OUT_OF_RANGE)?;
    }
    for digit in digits {
        match digit {
            0 => {}
            1..=9 => return Err(TOO_MANY_DECIMALS),
            _ => return Err(NOT_A_NUMBER),
        }
    }
    while places > 0 && value != 0 {
        value = value.checked_mul(10).ok_or(OUT_OF_RANGE)?;
        places -= 1;
    }
    if value >= 10_i128.pow(u32::from(precision)) {
        return Err(OUT_OF_RANGE);
    }
    Ok(if negative { -value } else { value })
}

/// Parses a date and returns the days since 1970-01-01.
pub fn date(text: &[u8]) -> Result<i32, Reason> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return Err(NOT_A_DATE) };
    let year = parse_digits(&[y1, y2, y3, y4]).ok_or(NOT_A_DATE)?;
    let month = parse_digits(&[m1, m2]).ok_or(NOT_A_DATE)?;
    let day = parse_digits(&[d1, d2]).ok_or(NOT_A_DATE)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(NOT_A_DATE),
    };
    if year == 0 || day == 0 || day > length {
        return Err(NOT_A_DATE);
    }
    // If years start in March, the leap day is the last day (howardhinnant.github.io/date_algorithms.html).
    let year = year - i32::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Ok(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

const NOT_A_DATE: Reason = "not a date such as 2024-01-31";
const NOT_A_TIMESTAMP: Reason = "not a timestamp such as 2024-01-31 23:59:59";

/// Parses a timestamp. Returns the microseconds since 1970-01-01T00:00:00, and whether the text has a time of day and a
/// time zone. With a time zone, the result is in UTC.
pub fn timestamp(text: &[u8]) -> Result<(i64, Zone), Reason> {
    const SECOND: i64 = 1_000_000;
    let (day, rest) = text.split_at_checked(10).ok_or(NOT_A_TIMESTAMP)?;
    let day = i64::from(date(day).map_err(|_| NOT_A_TIMESTAMP)?) * 86_400 * SECOND;
    let Some((separator, time)) = rest.split_first() else { return Ok((day, Zone::NoTime)) };
    if !matches!(separator, b' ' | b'T') {
        return Err(NOT_A_TIMESTAMP);
    }
    let clock = time.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b':' | b'.')).unwrap_or(time.len());
    let (clock, zone) = time.split_at(clock);
    // The zone is checked first, so that text that isn't a timestamp at all is never reported as too precise.
    let micros = clock_time(clock).map(|time| day + time);
    match zone {
        b"" => Ok((micros?, Zone::None)),
        b"Z" | b" UTC" | b"UTC" => Ok((micros?, Zone::Some)),
        [sign @ (b'+' | b'-'), offset @ ..] => {
            let (hours, minutes) = match *offset {
                [a, b] => (parse_digits(&[a, b]), Some(0)),
                [a, b, c, d] | [a, b, b':', c, d] => (parse_digits(&[a, b]), parse_digits(&[c, d])),
                _ => return Err(NOT_A_TIMESTAMP),
            };
            let (hours, minutes) = hours.zip(minutes).filter(|(h, m)| *h <= 18 && *m < 60).ok_or(NOT_A_TIMESTAMP)?;
            let (micros, offset) = (micros?, i64::from(hours * 60 + minutes) * 60 * SECOND);
            Ok((if *sign == b'+' { micros - offset } else { micros + offset }, Zone::Some))
        }
        _ => Err(NOT_A_TIMESTAMP),
    }
}

/// What follows the date in a timestamp's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Nothing.
    NoTime,
    /// A time of day, but no time zone.
    None,
    /// A time of day and a time zone.
    Some,
}

/// Parses `hh:mm[:ss[.f…]]` and returns the microseconds since midnight. Digits below a microsecond must be zeros.
fn clock_time(text: &[u8]) -> Result<i64, Reason> {
    let (hms, fraction) = match text {
        [_, _, b':', _, _] => (text, &b""[..]),
        [_, _, b':', _, _, b':', _, _] => (text, &b""[..]),
        [_, _, b':', _, _, b':', _, _, b'.', fraction @ ..] if !fraction.is_empty() => (&text[..8], fraction),
        _ => return Err(NOT_A_TIMESTAMP),
    };
    let mut seconds = 0;
    for (at, limit, weight) in [(0, 24, 3600), (3, 60, 60), (6, 60, 1)] {
        let Some(part) = hms.get(at..at + 2) else { break };
        seconds += parse_digits(part).filter(|part| *part < limit).ok_or(NOT_A_TIMESTAMP)? * weight;
    }
    let (mut micros, mut is_too_precise) = (0, false);
    for (at, byte) in fraction.iter().enumerate() {
        match (at, byte) {
            (..6, b'0'..=b'9') => micros += i64::from(byte - b'0') * [100_000, 10_000, 1_000, 100, 10, 1][at],
            (6.., b'0') => {}
            (6.., b'1'..=b'9') => is_too_precise = true,
            _ => return Err(NOT_A_TIMESTAMP),
        }
    }
    if is_too_precise {
        return Err(TOO_PRECISE);
    }
    Ok(i64::from(seconds) * 1_000_000 + micros)
}

/// Parses up to nine digits, without a sign.
fn parse_digits(digits: &[u8]) -> Option<i32> {
    digits.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i32::from(byte - b'0')))
}

/// Parses hexadecimal bytes such as `\x48656c6c6f`, in upper or lower case.
pub fn binary(text: &[u8]) -> Result<Vec<u8>, Reason> {
    const NOT_BINARY: Reason = "not binary, expected \\x and hexadecimal digits";
    let digits = text.strip_prefix(b"\\x").filter(|digits| digits.len() % 2 == 0).ok_or(NOT_BINARY)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect::<Option<_>>()
        .ok_or(NOT_BINARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_is_exact_and_canonical_rejects_lost_characters() {
        assert_eq!(whole(b"9223372036854775807", true), Ok(i64::MAX));
        assert_eq!(whole(b"-9223372036854775808", true), Ok(i64::MIN));
        assert_eq!(whole(b"+007", false), Ok(7));
        assert_eq!(whole(b"0", true), Ok(0));
        for lost in ["+7", "007", "-0", "00"] {
            assert!(whole(lost.as_bytes(), true).is_err(), "{lost}");
        }
        assert_eq!(whole(b"9223372036854775808", false), Err("out of range"));
        for bad in ["", "-", "+", "1.0", "1e3", "1 ", "１", "0x1"] {
            assert_eq!(whole(bad.as_bytes(), false), Err("not a whole number"), "{bad}");
        }
    }

    #[test]
    fn real_returns_the_nearest_number_and_rejects_overflow() {
        assert_eq!(real::<f64>(b"0.1"), Ok(0.1));
        assert_eq!(real::<f32>(b".5"), Ok(0.5));
        assert!(real::<f64>(b"NaN").unwrap().is_nan());
        assert_eq!(real::<f64>(b"-Infinity"), Ok(f64::NEG_INFINITY));
        assert_eq!(real::<f64>(b"1e309"), Err("out of range"));
        assert_eq!(real::<f32>(b"1e39"), Err("out of range"));
        assert_eq!(real::<f64>(b"1,5"), Err("not a number"));
    }

    #[test]
    fn decimal_rejects_text_that_would_lose_digits() {
        for (text, expected) in [
            ("1.50", Ok(150)),
            ("-1.5", Ok(-150)),
            ("+.5", Ok(50)),
            ("5.", Ok(500)),
            ("1.500", Ok(150)),
            ("1E+2", Ok(10_000)),
            ("123e-2", Ok(123)),
            ("0e999999999999", Ok(0)),
            ("0.00000e-99", Ok(0)),
            ("999.99", Ok(99_999)),
            ("1000", Err("out of range")),
            ("1e999999999999", Err("out of range")),
            ("99999999999999999999999999999999999999999999", Err("out of range")),
            ("1.505", Err("more decimal places than the type holds")),
            ("1e-999999999999", Err("more decimal places than the type holds")),
            ("", Err("not a number")),
            ("-", Err("not a number")),
            (".", Err("not a number")),
            ("1.2.3", Err("not a number")),
            ("1.50x", Err("not a number")),
            ("e5", Err("not a number")),
            ("nan", Err("not a number")),
        ] {
            assert_eq!(decimal(text.as_bytes(), 5, 2), expected, "{text}");
        }
        let largest = "9".repeat(38);
        assert_eq!(decimal(largest.as_bytes(), 38, 0), Ok(10_i128.pow(38) - 1));
    }

    #[test]
    fn date_counts_every_day_of_the_calendar() {
        let mut days = date(b"0001-01-01").unwrap();
        assert_eq!(days, -719_162);
        let mut day = jiff::civil::date(1, 1, 1);
        while let Ok(next) = day.tomorrow() {
            (day, days) = (next, days + 1);
            assert_eq!(date(day.to_string().as_bytes()), Ok(days), "{day}");
        }
        assert_eq!(date(b"1970-01-01"), Ok(0));
        for bad in
            ["2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01", "2024-00-01", "2024-01-00", "0000-01-01", "24-1-1"]
        {
            assert_eq!(date(bad.as_bytes()), Err(NOT_A_DATE), "{bad}");
        }
    }

    #[test]
    fn timestamp_returns_microseconds_and_zone() {
        const TIME: i64 = 1_704_164_645_000_000;
        for (text, expected) in [
            ("2024-01-02", Ok((1_704_153_600_000_000, Zone::NoTime))),
            ("2024-01-02 03:04", Ok((TIME - 5_000_000, Zone::None))),
            ("2024-01-02 03:04:05", Ok((TIME, Zone::None))),
            ("2024-01-02T03:04:05.1", Ok((TIME + 100_000, Zone::None))),
            ("2024-01-02T03:04:05.123456000Z", Ok((TIME + 123_456, Zone::Some))),
            ("2024-01-02 03:04:05 UTC", Ok((TIME, Zone::Some))),
            ("2024-01-02T12:04:05+09:00", Ok((TIME, Zone::Some))),
            ("2024-01-01T23:34:05-0330", Ok((TIME, Zone::Some))),
            ("2024-01-02 03:04:05+00", Ok((TIME, Zone::Some))),
            ("1969-12-31T23:59:59.999999", Ok((-1, Zone::None))),
            ("2024-01-02 03:04:05.1234567", Err("more precise than a microsecond")),
            ("2024-01-02 24:00:00", Err(NOT_A_TIMESTAMP)),
            ("2024-01-02 03:04:60", Err(NOT_A_TIMESTAMP)),
            ("2024-01-02 03:04:05.", Err(NOT_A_TIMESTAMP)),
            ("2024-01-02 03", Err(NOT_A_TIMESTAMP)),
            ("2024-01-02 03:04:05 JST", Err(NOT_A_TIMESTAMP)),
            ("2024-01-02 03:04:05+25", Err(NOT_A_TIMESTAMP)),
            ("2024-01-0２", Err(NOT_A_TIMESTAMP)),
        ] {
            assert_eq!(timestamp(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_value_is_never_unrepresentable() {
        for text in ["99999999999999999999x", "9223372036854775808.5", "-99999999999999999999 ", "300x"] {
            assert_eq!(whole(text.as_bytes(), false), Err("not a whole number"), "{text}");
        }
        let long = "9".repeat(50) + "x";
        for text in ["1.555x", "1.5.5", "1.234.567", "999999999x", "1234567.8.9", "1.999,5", &long, "1e5e5"] {
            assert_eq!(decimal(text.as_bytes(), 5, 2), Err("not a number"), "{text}");
        }
        for text in [
            "2024-01-02 03:04:05.1234567 JST",
            "2024-01-02 03:04:05.1234567.8",
            "2024-01-02 03:04:05.12345678x",
            "2024-01-02 03:04:05.1234567+99",
        ] {
            assert_eq!(timestamp(text.as_bytes()), Err(NOT_A_TIMESTAMP), "{text}");
        }
    }

    #[test]
    fn binary_and_boolean() {
        assert_eq!(binary(b"\\x00fF"), Ok(vec![0, 255]));
        assert!(binary(b"\\x0").is_err() && binary(b"00").is_err() && binary(b"\\x0g").is_err());
        assert_eq!(
            (boolean(b"T", false), boolean(b"0", false), boolean(b"FALSE", true)),
            (Ok(true), Ok(false), Ok(false))
        );
        assert!(boolean(b"t", true).is_err() && boolean(b"yes", false).is_err());
    }
}

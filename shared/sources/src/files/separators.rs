//! Reads numbers that are written with other separators, such as `1.234,50`.

use super::text::Reason;
use turntable_core::config::Separators;

const NOT_A_NUMBER: Reason = "not a number with the separators in source.files.csv.numbers";

/// Returns the number in the form `1234.50`. Separators between groups are accepted only where they belong, so that
/// `1.5` is not read as fifteen. Doesn't check that the result is a number; the parsers do.
pub fn plain(text: &[u8], separators: &Separators) -> Result<Vec<u8>, Reason> {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let sign = &text[..text.len() - digits.len()];
    let mut halves = digits.splitn(2, |byte| *byte == separators.decimal);
    let (whole, fraction) = (halves.next().unwrap_or_default(), halves.next());
    let groups: Vec<&[u8]> = match separators.thousands {
        Some(thousands) => whole.split(|byte| *byte == thousands).collect(),
        None => vec![whole],
    };
    let is_grouped = groups.len() == 1
        || groups.first().is_some_and(|first| (1..=3).contains(&first.len()))
            && groups.iter().skip(1).all(|group| group.len() == 3);
    let is_digits = groups.iter().copied().chain(fraction).flatten().all(u8::is_ascii_digit);
    if !is_grouped || !is_digits {
        return Err(NOT_A_NUMBER);
    }
    let point = fraction.map(|fraction| [b".", fraction].concat()).unwrap_or_default();
    Ok([sign, &groups.concat(), &point].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_stand_only_where_they_belong() {
        let comma = Separators { decimal: b',', thousands: Some(b'.') };
        for (text, expected) in [
            ("1.234,50", Some("1234.50")),
            ("-1.234.567,8", Some("-1234567.8")),
            (" 12,5 ", Some("12.5")),
            ("1234,5", Some("1234.5")),
            ("+7", Some("+7")),
            (",5", Some(".5")),
            ("", Some("")),
            ("1.5", None),
            ("12.34", None),
            ("1234.567", None),
            (".123", None),
            ("1..234", None),
            ("1,234,5", None),
            ("1,2.345", None),
            ("1e5", None),
            ("x", None),
            ("--1", None),
        ] {
            let found = plain(text.as_bytes(), &comma).ok().map(|plain| String::from_utf8(plain).unwrap());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        let swiss = Separators { decimal: b'.', thousands: Some(b'\'') };
        assert_eq!(plain(b"1'234.5", &swiss).as_deref(), Ok(&b"1234.5"[..]));
        let none = Separators { decimal: b',', thousands: None };
        assert!(plain(b"1.234,5", &none).is_err());
    }
}

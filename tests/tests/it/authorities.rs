//! The certificate authorities that are shipped with the functions.

use jiff::{ToSpan, civil::Date};
use turntable::clock::Clock;

/// The files with the certificates. Each comment in them names an authority and the day on which it expires.
const FILES: [&str; 2] = [
    include_str!("../../../shared/sources/src/tls/rds.pem"),
    include_str!("../../../shared/sources/src/tls/amazon.pem"),
];

#[test]
fn no_authority_expires_within_two_years() {
    let soon = Clock::system().now().to_zoned(jiff::tz::TimeZone::UTC).date().saturating_add(2.years());
    let lines = FILES.iter().flat_map(|text| text.lines());
    let stated: Vec<(&str, Date)> = lines
        .filter_map(|line| line.strip_prefix("# ")?.split_once(", until "))
        .map(|(name, day)| (name, day.parse().unwrap()))
        .collect();
    assert_eq!(stated.len(), 84 + 5);
    for (name, day) in &stated {
        assert!(*day > soon, "{name} expires on {day}: take Amazon's new bundle into {name}'s file");
    }
    let found: Vec<Date> =
        FILES.iter().flat_map(|text| text.split("-----BEGIN CERTIFICATE-----\n").skip(1)).map(expires).collect();
    assert_eq!(found, stated.iter().map(|(_, day)| *day).collect::<Vec<_>>());
}

/// Returns the date in a certificate's `notAfter`, which is the second time in its DER: a UTCTime with 13 characters,
/// or a GeneralizedTime with 15.
fn expires(pem: &str) -> Date {
    use base64::Engine;
    let text: String = pem.lines().take_while(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let times = (0..der.len()).filter_map(|at| {
        let time = |tag: u8, length: usize| {
            let digits = der.get(at..)?.strip_prefix(&[tag, length as u8])?.get(..length)?.strip_suffix(b"Z")?;
            digits.iter().all(u8::is_ascii_digit).then(|| String::from_utf8_lossy(digits).into_owned())
        };
        time(0x18, 15).or_else(|| time(0x17, 13).map(|digits| format!("20{digits}")))
    });
    let time = times.take(2).last().unwrap();
    Date::strptime("%Y%m%d", &time[..8]).unwrap()
}

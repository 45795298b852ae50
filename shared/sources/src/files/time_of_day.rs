//! Times of day as text. Arrow's own conversion rejects 24:00:00, which is the end of a day in ISO 8601 and in
//! PostgreSQL.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, StringArray,
    cast::AsArray,
    types::{Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType},
};
use arrow_schema::{DataType, TimeUnit};

/// Converts times to text such as `03:04:05.123456`. Fractions have three, six or nine digits, or are left out. Fails
/// for a time outside of 00:00:00 to 24:00:00, with an error that names its row.
pub fn as_text(times: &ArrayRef) -> Result<ArrayRef, String> {
    const NANOS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];
    match times.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            texts(times.as_primitive::<Time32SecondType>().iter().map(|time| time.map(i64::from)), NANOS[0])
        }
        DataType::Time32(_) => {
            texts(times.as_primitive::<Time32MillisecondType>().iter().map(|time| time.map(i64::from)), NANOS[1])
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            texts(times.as_primitive::<Time64MicrosecondType>().iter(), NANOS[2])
        }
        _ => texts(times.as_primitive::<Time64NanosecondType>().iter(), NANOS[3]),
    }
}

/// Returns the first row whose time [`as_text`] rejects. Returns `None` for an array of another type.
pub fn first_outside(times: &ArrayRef) -> Option<usize> {
    if !matches!(times.data_type(), DataType::Time32(_) | DataType::Time64(_)) || as_text(times).is_ok() {
        return None;
    }
    (0..times.len()).find(|row| as_text(&times.slice(*row, 1)).is_err())
}

fn texts(times: impl Iterator<Item = Option<i64>>, nanos: i64) -> Result<ArrayRef, String> {
    let text = |(row, time): (usize, Option<i64>)| {
        let text = time.map(|time| time.checked_mul(nanos).and_then(time_of_day).ok_or(row)).transpose();
        text.map_err(|row| {
            format!("the time in row {} of a batch is outside of 00:00:00 to 24:00:00: correct it in the file", row + 1)
        })
    };
    let texts: StringArray = times.enumerate().map(text).collect::<Result<_, String>>()?;
    Ok(Arc::new(texts))
}

/// Returns the text of a time in nanoseconds since midnight.
fn time_of_day(nanos: i64) -> Option<String> {
    const SECOND: i64 = 1_000_000_000;
    if !(0..=86_400 * SECOND).contains(&nanos) {
        return None;
    }
    let (seconds, fraction) = (nanos / SECOND, nanos % SECOND);
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    Some(match fraction {
        0 => text,
        _ if fraction % 1_000_000 == 0 => format!("{text}.{:03}", fraction / 1_000_000),
        _ if fraction % 1_000 == 0 => format!("{text}.{:06}", fraction / 1_000),
        _ => format!("{text}.{fraction:09}"),
    })
}

#[cfg(test)]
mod tests {
    use arrow_array::{Time32MillisecondArray, Time64MicrosecondArray, Time64NanosecondArray};
    use arrow_cast::cast;

    use super::*;

    #[test]
    fn every_time_of_a_day_has_the_text_that_arrow_gives_it_and_24_00_has_one_too() {
        let micros = [0, 1, 999, 1_000, 123_456, 500_000, 1_000_000, 11_045_123_456, 86_399_999_999];
        let millis = Time32MillisecondArray::from(vec![Some(0), None, Some(1), Some(500), Some(86_399_999)]);
        let nanos = Time64NanosecondArray::from(vec![0, 1, 1_001, 1_000_000, 86_399_999_999_999]);
        for times in
            [Arc::new(Time64MicrosecondArray::from(micros.to_vec())) as ArrayRef, Arc::new(millis), Arc::new(nanos)]
        {
            assert_eq!(&as_text(&times), &cast(&times, &DataType::Utf8).map_err(|error| error.to_string()));
        }
        let end: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![86_400_000_000]));
        assert_eq!(as_text(&end).unwrap().as_string::<i32>().value(0), "24:00:00");
        for outside in [86_400_000_001, -1, i64::MAX] {
            let times: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![0, outside]));
            assert!(as_text(&times).unwrap_err().contains("row 2 of a batch is outside of 00:00:00"), "{outside}");
        }
    }
}

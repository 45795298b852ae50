//! Renders Arrow values as PostgreSQL prints them. The code follows PostgreSQL's documentation, and shares nothing with
//! the decoder.

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::DataType;

pub fn rows(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| value(column, row)).collect()).collect()
}

pub fn value(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    macro_rules! get {
        ($type:ty) => {
            array.as_any().downcast_ref::<$type>().expect("an array of its own type").value(row)
        };
    }
    Some(match array.data_type() {
        DataType::Boolean => if get!(BooleanArray) { "t" } else { "f" }.into(),
        DataType::Int16 => get!(Int16Array).to_string(),
        DataType::Int32 => get!(Int32Array).to_string(),
        DataType::Int64 => get!(Int64Array).to_string(),
        DataType::Float32 => {
            let value = get!(Float32Array);
            float(value.into(), format!("{value:e}"), 6)
        }
        DataType::Float64 => {
            let value = get!(Float64Array);
            float(value, format!("{value:e}"), 15)
        }
        DataType::Decimal128(_, scale) => decimal(get!(Decimal128Array), *scale as usize),
        DataType::Utf8 => get!(StringArray).to_owned(),
        DataType::Binary => format!("\\x{}", hex(get!(BinaryArray))),
        DataType::Date32 => date(get!(Date32Array).into(), ""),
        DataType::Timestamp(_, zone) => {
            let micros = get!(TimestampMicrosecondArray);
            timestamp(micros, if zone.is_some() { "+00" } else { "" })
        }
        DataType::List(_) => list(&get!(ListArray)),
        DataType::Struct(_) => {
            let row_ = array.as_any().downcast_ref::<StructArray>().expect("a struct");
            let fields =
                row_.columns().iter().map(|column| value(column, row).map_or(String::new(), |t| quoted(&t, false)));
            format!("({})", fields.collect::<Vec<_>>().join(","))
        }
        DataType::Map(..) => hstore(&get!(MapArray)),
        other => panic!("no rendering of {other}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Renders the shortest digits in `scientific` as PostgreSQL does: like `%g`, with up to `places` places before the
/// point.
fn float(value: f64, scientific: String, places: i32) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let (digits, exponent) = scientific.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent");
    if (-4..places).contains(&exponent) {
        let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
        let digits = digits.replace('.', "");
        let point = exponent + 1;
        if point <= 0 {
            return if value == 0.0 {
                format!("{sign}0")
            } else {
                format!("{sign}0.{}{digits}", "0".repeat(-point as usize))
            };
        }
        let point = point as usize;
        if digits.len() <= point {
            return format!("{sign}{digits}{}", "0".repeat(point - digits.len()));
        }
        return format!("{sign}{}.{}", &digits[..point], &digits[point..]);
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn decimal(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

/// Renders days since 1970 in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date
/// algorithms"), with a time of day between the year and its era.
fn date(days: i64, time: &str) -> String {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{day:02}{time}{era}")
}

fn timestamp(micros: i64, zone: &str) -> String {
    let (days, of_day) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
    let part = if micros == 0 { String::new() } else { format!(".{micros:06}").trim_end_matches('0').to_owned() };
    let time = format!(" {:02}:{:02}:{:02}{part}{zone}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    date(days, &time)
}

fn list(elements: &ArrayRef) -> String {
    let each = |at| value(elements, at).map_or("NULL".into(), |text| quoted(&text, true));
    format!("{{{}}}", (0..elements.len()).map(each).collect::<Vec<_>>().join(","))
}

/// Quotes an array's element or a row's field if needed: see "Array Output Syntax" and "Composite Type Output Syntax"
/// in the manual.
fn quoted(text: &str, array: bool) -> String {
    let special = if array { "{},\"\\" } else { "(),\"\\" };
    let spaces = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}');
    let must = text.is_empty()
        || text.contains(|c| special.contains(c) || spaces(c))
        || (array && text.eq_ignore_ascii_case("null"));
    if !must {
        return text.into();
    }
    let text = text.replace('\\', "\\\\");
    format!("\"{}\"", text.replace('"', if array { "\\\"" } else { "\"\"" }))
}

fn hstore(entries: &StructArray) -> String {
    let (keys, values) = (entries.column(0), entries.column(1));
    let quoted = |text: String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let pair = |at| {
        let key = value(keys, at).map_or("NULL".into(), quoted);
        format!("{key}=>{}", value(values, at).map_or("NULL".into(), quoted))
    };
    (0..entries.len()).map(pair).collect::<Vec<_>>().join(", ")
}

//! Renders Arrow values as MariaDB's client prints them. The code follows MariaDB's documentation, and shares nothing
//! with the decoder.

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use jiff::civil::{Date, DateTime};
use tests::mariadb::Row;

pub fn rows(batch: &RecordBatch) -> Vec<Row> {
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| value(column, row)).collect()).collect()
}

fn value(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    macro_rules! get {
        ($type:ty) => {
            array.as_any().downcast_ref::<$type>().expect("an array of its own type").value(row)
        };
    }
    Some(match array.data_type() {
        DataType::Boolean => u8::from(get!(BooleanArray)).to_string(),
        DataType::Int8 => get!(Int8Array).to_string(),
        DataType::Int16 => get!(Int16Array).to_string(),
        DataType::Int32 => get!(Int32Array).to_string(),
        DataType::Int64 => get!(Int64Array).to_string(),
        // The notation doesn't matter: `number` brings both sides into the same form.
        DataType::Float32 => format!("{:e}", f64::from(get!(Float32Array))),
        DataType::Float64 => format!("{:e}", get!(Float64Array)),
        DataType::Decimal128(_, scale) => decimal(get!(Decimal128Array), *scale as usize),
        DataType::Utf8 => get!(StringArray).to_owned(),
        DataType::Binary => get!(BinaryArray).iter().map(|byte| format!("{byte:02X}")).collect(),
        DataType::Date32 => day(get!(Date32Array)).to_string(),
        DataType::Timestamp(..) => {
            let micros = get!(TimestampMicrosecondArray);
            let moment = DateTime::constant(1970, 1, 1, 0, 0, 0, 0) + jiff::Span::new().microseconds(micros);
            format!("{}.{:06}", moment.strftime("%Y-%m-%d %H:%M:%S"), micros.rem_euclid(1_000_000))
        }
        other => panic!("no rendering of {other}"),
    })
}

/// Rewrites a floating-point number in one canonical form.
pub fn number(text: &str) -> String {
    format!("{:e}", text.parse::<f64>().expect("a number"))
}

fn day(days: i32) -> Date {
    Date::constant(1970, 1, 1) + jiff::Span::new().days(days)
}

fn decimal(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

//! Timestamps in Parquet that microseconds can't hold.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int8Array, ListArray, StructArray, TimestampMillisecondArray, TimestampNanosecondArray,
    types::TimestampNanosecondType,
};
use arrow_schema::{DataType, Field, TimeUnit};
use parquet::{
    data_type::{Int96, Int96Type},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};

use super::{
    fault,
    parquet::{batch, parquet},
    read_one, read_with_nulls,
};

/// Returns a file with timestamps as Spark and Hive used to write them: nanoseconds of the day, and the Julian day. Of
/// its two columns, the second is inside a struct.
fn int96(values: &[Option<(u64, i32)>]) -> Vec<u8> {
    let message = "message m { optional int96 t; optional group s { optional int96 u; } }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
    for values in values.chunks(10_000) {
        let mut rows = file.next_row_group().unwrap();
        for defined in [1, 2] {
            let mut column = rows.next_column().unwrap().unwrap();
            let raw = |(nanos, day): &(u64, i32)| {
                let mut value = Int96::new();
                value.set_data(*nanos as u32, (nanos >> 32) as u32, 2_440_588_u32.wrapping_add_signed(*day));
                value
            };
            let raw: Vec<Int96> = values.iter().flatten().map(raw).collect();
            let levels: Vec<i16> = values.iter().map(|value| if value.is_some() { defined } else { 0 }).collect();
            column.typed::<Int96Type>().write_batch(&raw, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        rows.close().unwrap();
    }
    file.close().unwrap();
    bytes
}

const YEAR_9999: i32 = 2_932_896;

#[tokio::test]
async fn int96_reaches_the_year_9999() {
    let table = read_one("a.parquet", int96(&[Some((1_000, YEAR_9999)), None]), "").await.unwrap();
    assert_eq!(table.columns, "t timestamp, s struct<u:timestamp>");
    assert_eq!(table.rows, ["9999-12-31T00:00:00.000001|{u: 9999-12-31T00:00:00.000001}", "-|-"]);
}

#[tokio::test]
async fn a_timestamp_finer_than_a_microsecond_is_named_or_null_and_never_cut() {
    const DAY: u64 = 86_400_000_000_000;
    for day in [0, 19_000, YEAR_9999] {
        let mut values = vec![Some((DAY - 1_000, day)); 25_000];
        values[7] = None;
        assert_eq!(read_one("a.parquet", int96(&values), "").await.unwrap().rows.len(), 25_000);
        values[20_001] = Some((DAY - 1, day));
        assert_eq!(
            fault("a.parquet", int96(&values), "").await,
            "table dmp.t, column \"t\", a.parquet row 20002: a timestamp more precise than a microsecond: round it at \
             the source, or set on_unrepresentable = \"null\" to store NULL"
        );
        let (rows, nulled) = read_with_nulls("a.parquet", int96(&values), "").await.unwrap();
        assert_eq!(nulled, "{\"s\": 1, \"t\": 1}");
        let nulls: Vec<usize> = rows.iter().enumerate().filter(|(_, row)| *row == "-|-").map(|(at, _)| at).collect();
        assert_eq!(nulls, [7, 20_001]);
    }
    let list = ListArray::from_iter_primitive::<TimestampNanosecondType, _, _>([
        Some(vec![Some(1_000), Some(2_000)]),
        None,
        Some(vec![None, Some(1)]),
    ]);
    let nested = parquet(&batch(vec![
        ("Id", Arc::new(Int8Array::from(vec![1, 2, 3]))),
        ("l", Arc::new(list)),
        ("t", Arc::new(TimestampNanosecondArray::from(vec![1, 2_000, -3_000]))),
    ]));
    let (rows, nulled) = read_with_nulls("a.parquet", nested.clone(), "").await.unwrap();
    assert_eq!(
        rows,
        [
            "1|[1970-01-01T00:00:00.000001, 1970-01-01T00:00:00.000002]|-",
            "2|-|1970-01-01T00:00:00.000002",
            "3|-|1969-12-31T23:59:59.999997"
        ]
    );
    assert_eq!(nulled, "{\"l\": 1, \"t\": 1}");
    assert!(fault("a.parquet", nested, "").await.starts_with("table dmp.t, column \"l\", a.parquet row 3: "));
}

/// The days and the nanoseconds of the day of the first and the last timestamp that microseconds can hold.
const FIRST: (u64, i32) = (71_945_224_192_000, -106_751_992);
const LAST: (u64, i32) = (14_454_775_807_000, 106_751_991);
/// 64 bits of microseconds wrap around after this many days.
const WRAP: i32 = 213_503_982;

#[tokio::test]
async fn a_timestamp_that_microseconds_cannot_reach_is_named_or_null_and_never_wrapped() {
    let reached = int96(&[Some(FIRST), Some(LAST), None]);
    assert_eq!(read_one("a.parquet", reached, "").await.unwrap().rows.len(), 3);
    for beyond in [
        (FIRST.0 - 1_000, FIRST.1),
        (LAST.0 + 1_000, LAST.1),
        // These would be in the years 2024 and 1915.
        (0, WRAP + 20_000),
        (0, -WRAP - 20_000),
        (0, i32::MAX - 2_440_588),
        (0, i32::MIN),
        (1, LAST.1 + 1),
        (86_399_999_999_999, -WRAP),
    ] {
        let file = int96(&[Some((0, 19_000)), Some(beyond), None, Some(LAST)]);
        assert_eq!(
            fault("a.parquet", file.clone(), "").await,
            "table dmp.t, column \"t\", a.parquet row 2: a timestamp further from 1970 than about 292,000 years, which \
             microseconds can't hold: correct it at the source, or set on_unrepresentable = \"null\" to store NULL",
            "{beyond:?}"
        );
        let (rows, nulled) = read_with_nulls("a.parquet", file, "").await.unwrap();
        assert_eq!((rows.len(), nulled.as_str()), (4, "{\"s\": 1, \"t\": 1}"), "{beyond:?}");
        assert_eq!(rows[..3], ["2022-01-08T00:00:00|{u: 2022-01-08T00:00:00}", "-|-", "-|-"], "{beyond:?}");
    }
}

#[tokio::test]
async fn a_coarse_timestamp_that_microseconds_cannot_reach_is_named_or_null() {
    const BEYOND: i64 = i64::MAX / 1_000;
    let millis = Arc::new(TimestampMillisecondArray::from(vec![1, BEYOND, BEYOND + 1, -BEYOND - 1])) as ArrayRef;
    let of = |array: &ArrayRef| {
        let field = Field::new("m", DataType::Timestamp(TimeUnit::Millisecond, None), true);
        let nested = Arc::new(StructArray::from(vec![(Arc::new(field), array.clone())])) as ArrayRef;
        parquet(&batch(vec![("t", array.clone()), ("s", nested)]))
    };
    assert_eq!(
        fault("a.parquet", of(&millis), "").await,
        "table dmp.t, column \"t\", a.parquet row 3: a timestamp further from 1970 than about 292,000 years, which \
         microseconds can't hold: correct it at the source, or set on_unrepresentable = \"null\" to store NULL"
    );
    let (rows, nulled) = read_with_nulls("a.parquet", of(&millis), "").await.unwrap();
    assert_eq!(nulled, "{\"s\": 2, \"t\": 2}");
    assert_eq!(
        (rows[0].as_str(), &rows[2..]),
        ("1970-01-01T00:00:00.001|{m: 1970-01-01T00:00:00.001}", &["-|-".into(), "-|-".into()][..])
    );
}

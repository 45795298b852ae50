//! Parquet: the types that each common writer uses.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, Int8Array, Int64Array, LargeStringArray, ListArray, RecordBatch,
    StructArray, Time64MicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
    builder::{MapBuilder, StringBuilder, UInt16Builder},
    types::Int32Type,
};
use arrow_schema::{DataType, Field};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, GzipLevel, ZstdLevel},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use tests::{
    memory,
    types_page::{arrow, in_code, table},
};
use turntable::{error::Kind, manifest::TypedBy};

use super::{PLACE, fault, open, read, read_one};

pub fn parquet(batch: &RecordBatch) -> Vec<u8> {
    parquet_by(batch, Compression::UNCOMPRESSED)
}

fn parquet_by(batch: &RecordBatch, compression: Compression) -> Vec<u8> {
    let mut bytes = Vec::new();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn sample() -> RecordBatch {
    let tags = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let mut extra = MapBuilder::new(None, StringBuilder::new(), UInt16Builder::new());
    extra.keys().append_value("k");
    extra.values().append_value(65_535);
    extra.append(true).unwrap();
    extra.append(false).unwrap();
    let nested = StructArray::from(vec![(
        Arc::new(Field::new("Big", DataType::UInt64, true)),
        Arc::new(UInt64Array::from(vec![u64::MAX, 0])) as ArrayRef,
    )]);
    batch(vec![
        ("ID", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None]))),
        ("name", Arc::new(LargeStringArray::from(vec!["山田", ""]))),
        ("kind", Arc::new(DictionaryArray::<Int32Type>::from_iter([Some("a"), None]))),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![1_000, -2_000]).with_timezone("UTC"))),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![1, 2]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![1_000_001, 0]))),
        ("price", Arc::new(Decimal128Array::from(vec![150, -1]).with_precision_and_scale(9, 2).unwrap())),
        ("tags", Arc::new(tags)),
        ("extra", Arc::new(extra.finish())),
        ("nested", Arc::new(nested)),
    ])
}

#[tokio::test]
async fn parquet_keeps_its_own_types() {
    let table = read_one("a.parquet", parquet(&sample()), "").await.unwrap();
    assert_eq!(table.typed_by, TypedBy::Source);
    assert_eq!(
        table.columns,
        "id bigint, name string, kind string, at timestamp, ms timestamp, time string, price decimal(9,2), \
         tags array<int>, extra map<string,int>, nested struct<big:decimal(20,0)>"
    );
    assert_eq!(
        table.rows,
        [
            "4294967295|山田|a|1970-01-01T00:00:00.000001|1970-01-01T00:00:00.001|00:00:01.000001|1.50|[1, -]|{k: 65535}|\
             {big: 18446744073709551615}",
            "-||-|1969-12-31T23:59:59.999998|1970-01-01T00:00:00.002|00:00:00|-0.01|-|-|{big: 0}"
        ]
    );
}

/// Athena compresses its own tables with gzip by default.
#[tokio::test]
async fn parquet_of_every_compression_is_read() {
    let plain = read_one("a.parquet", parquet(&sample()), "").await.unwrap();
    for compression in [
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let read = read_one("a.parquet", parquet_by(&sample(), compression), "").await;
        assert_eq!(read.unwrap_or_else(|error| panic!("{compression}: {error}")).rows, plain.rows);
    }
}

#[tokio::test]
async fn parquet_is_cast_only_where_nothing_is_lost() {
    let numbers = batch(vec![("N", Arc::new(Int64Array::from(vec![1, 300])))]);
    for (to, expected) in [("int", "1 300"), ("decimal(5,2)", "1.00 300.00")] {
        let columns = format!(", columns = {{ n = \"{to}\" }}");
        assert_eq!(read_one("a.parquet", parquet(&numbers), &columns).await.unwrap().rows.join(" "), expected);
    }
    for (to, expected) in [
        ("{ n = \"tinyint\" }", "a.parquet: column \"n\": a value doesn't fit the type Int8"),
        ("{ n = \"double\" }", "a.parquet: column \"n\": Int64 can't be converted to Float64 without loss"),
        (
            "{ n = \"bigint\", m = \"int\" }",
            "a.parquet: missing column \"m\": all files must have the same columns, unless source.files has columns and missing = \"null\"",
        ),
        (
            "{ m = \"bigint\" }",
            "a.parquet: unexpected column \"n\": all files must have the same columns, unless source.files has columns and extra = \"ignore\"",
        ),
    ] {
        assert_eq!(fault("a.parquet", parquet(&numbers), &format!(", columns = {to}")).await, expected);
    }
    let twice = batch(vec![("a", Arc::new(Int8Array::from(vec![1]))), ("A", Arc::new(Int8Array::from(vec![1])))]);
    assert_eq!(
        fault("a.parquet", parquet(&twice), "").await,
        "a.parquet: two columns are called \"a\" (Glue's names are lower case): rename one"
    );
}

#[tokio::test]
async fn parquet_objects_must_agree() {
    let objects = memory::Objects::default();
    let ints = batch(vec![("n", Arc::new(Int64Array::from(vec![1])))]);
    objects.put("s3://lake/in/users/a.parquet", parquet(&ints));
    objects.put("s3://lake/in/users/b.parquet", parquet(&ints));
    assert_eq!(read(&objects, PLACE).await.unwrap().rows, ["1", "1"]);
    let strings = batch(vec![("n", Arc::new(LargeStringArray::from(vec!["1"])))]);
    objects.put("s3://lake/in/users/b.parquet", parquet(&strings));
    assert_eq!(
        read(&objects, PLACE).await.err().unwrap().message(),
        "s3://lake/in/users/b.parquet: column \"n\" is string, but bigint in s3://lake/in/users/a.parquet: write both with \
         the same type"
    );
}

#[tokio::test]
async fn damaged_parquet_is_an_error_and_no_panic() {
    let body = parquet(&sample());
    assert_eq!(fault("a.parquet", "id\n", "").await, "a.parquet is damaged or not Parquet: replace the file");
    for at in 0..body.len() {
        for damage in [0x00, 0x7f, 0xff, body[at] ^ 1] {
            let mut damaged = body.clone();
            damaged[at] = damage;
            for damaged in [&damaged[..], &damaged[..at]] {
                if let Err(error) = read_one("a.parquet", damaged, "").await {
                    assert_eq!(error.kind(), Kind::Input, "byte {at} is {damage}: {}", error.report());
                }
            }
        }
    }
}

/// Returns the declaration of an optional column `c` in Parquet's schema language. `of` is a type's name in
/// docs/types.md.
fn column(of: &str) -> String {
    let plain = match of {
        "BOOLEAN" => "boolean {}",
        "INT(8)" => "int32 {} (INTEGER(8,true))",
        "INT(16)" => "int32 {} (INTEGER(16,true))",
        "INT32" => "int32 {}",
        "INT64" => "int64 {}",
        "INT(8) unsigned" => "int32 {} (INTEGER(8,false))",
        "INT(16) unsigned" => "int32 {} (INTEGER(16,false))",
        "INT(32) unsigned" => "int32 {} (INTEGER(32,false))",
        "INT(64) unsigned" => "int64 {} (INTEGER(64,false))",
        "FLOAT" => "float {}",
        "FLOAT16" => "fixed_len_byte_array(2) {} (FLOAT16)",
        "DOUBLE" => "double {}",
        "DECIMAL(9,2)" => "fixed_len_byte_array(4) {} (DECIMAL(9,2))",
        "STRING" => "binary {} (STRING)",
        "TIME" => "int64 {} (TIME(MICROS,true))",
        "DATE" => "int32 {} (DATE)",
        "TIMESTAMP(ms)" => "int64 {} (TIMESTAMP(MILLIS,false))",
        "TIMESTAMP(µs)" => "int64 {} (TIMESTAMP(MICROS,false))",
        "TIMESTAMP(ns)" => "int64 {} (TIMESTAMP(NANOS,false))",
        "TIMESTAMP(ms, UTC)" => "int64 {} (TIMESTAMP(MILLIS,true))",
        "TIMESTAMP(µs, UTC)" => "int64 {} (TIMESTAMP(MICROS,true))",
        "TIMESTAMP(ns, UTC)" => "int64 {} (TIMESTAMP(NANOS,true))",
        "INT96" => "int96 {}",
        "BYTE_ARRAY" => "binary {}",
        "FIXED_LEN_BYTE_ARRAY(4)" => "fixed_len_byte_array(4) {}",
        "UUID" => "fixed_len_byte_array(16) {} (UUID)",
        "LIST of INT32" => "group {} (LIST) { repeated group list { optional int32 element; } }",
        "MAP of STRING to DATE" => {
            "group {} (MAP) { repeated group key_value { required binary key (STRING); optional int32 value (DATE); } }"
        }
        "group of BOOLEAN, TIME" => "group {} { optional boolean A; optional int64 B (TIME(MICROS,true)); }",
        _ => panic!("no Parquet type {of}"),
    };
    let end = if plain.starts_with("group") { "" } else { ";" };
    format!("optional {plain}{end}").replace("{}", "c")
}

#[tokio::test]
async fn the_page_says_what_every_type_of_parquet_becomes() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for row in table("Files") {
        for of in in_code(&row[0]) {
            let message = parse_message_type(&format!("message m {{ {} }}", column(&of)));
            let message = Arc::new(message.unwrap_or_else(|error| panic!("{of}: {error}")));
            let mut body = Vec::new();
            SerializedFileWriter::new(&mut body, message, Default::default()).unwrap().close().unwrap();
            let objects = memory::Objects::default();
            objects.put("s3://lake/in/users/a.parquet", body);
            let opened = open(&objects, PLACE).await.unwrap_or_else(|error| panic!("{of}: {}", error.report()));
            let glue = turntable::parquet::arrow_types::columns(&opened.rows.schema).unwrap().remove(0).glue_type;
            let found = [arrow(opened.rows.schema.field(0).data_type()), glue];
            if found != row[1..3] {
                wrong.push(format!("{of}: {found:?}, the page says {:?}", &row[1..3]));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, 29);
}

/// Returns the file with other metadata: `change` gets the footer's bytes.
fn with_footer(body: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (rest, end) = body.split_at(body.len() - 8);
    let length = u32::from_le_bytes(end[..4].try_into().unwrap()) as usize;
    let (pages, footer) = rest.split_at(rest.len() - length);
    let footer = change(footer);
    [pages, &footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

#[tokio::test]
async fn a_file_that_contradicts_itself_is_refused() {
    let ids: Vec<i64> = (0..30).collect();
    let body = parquet(&batch(vec![("id", Arc::new(Int64Array::from(ids)))]));
    // In Thrift's compact protocol, the footer's number of rows is an i64, 60 in zigzag, before the list of row groups.
    let none = with_footer(&body, |footer| {
        let mut footer = footer.to_vec();
        let at = footer.windows(4).position(|bytes| bytes == [0x16, 60, 0x19, 0x1c]).unwrap();
        footer[at + 1] = 0;
        footer
    });
    assert_eq!(
        fault("a.parquet", none, "").await,
        "a.parquet contradicts itself: its footer says 0 rows, its row groups 30: write the file again"
    );
}

#[tokio::test]
async fn an_encrypted_file_is_named_and_refused() {
    let body = parquet(&sample());
    let reason = "encrypted, which neither Turntable nor Athena can read: write it unencrypted";
    let mut footer = body.clone();
    let end = footer.len() - 4;
    footer[end..].copy_from_slice(b"PARE");
    assert_eq!(fault("a.parquet", footer, "").await, format!("a.parquet: its footer is {reason}"));
    // The last field of the footer is 7, the orders of columns. A union with the algorithm is field 8.
    let columns = with_footer(&body, |footer| [&footer[..footer.len() - 1], &[0x1c, 0x1c, 0x00, 0x00, 0x00]].concat());
    assert_eq!(fault("a.parquet", columns, "").await, format!("a.parquet: columns are {reason}"));
}

#[tokio::test]
async fn the_end_of_a_day_is_a_time() {
    let times = Time64MicrosecondArray::from(vec![86_400_000_000, 1]);
    let table = read_one("a.parquet", parquet(&batch(vec![("t", Arc::new(times))])), "").await.unwrap();
    assert_eq!(table.rows, ["24:00:00", "00:00:00.000001"]);
    let mut times = vec![0; 10_000];
    times[9_000] = 86_400_000_001;
    let times = Time64MicrosecondArray::from(times);
    assert_eq!(
        fault("a.parquet", parquet(&batch(vec![("t", Arc::new(times))])), "").await,
        "a.parquet row 9001: column \"t\": the time is outside of 00:00:00 to 24:00:00: correct it in the file"
    );
}

/// Returns structs with field names that Athena can't read and with every type that can be JSON text.
fn tagged() -> RecordBatch {
    let numbers = StructArray::from(vec![
        (Arc::new(Field::new("aws:x", DataType::Int64, true)), Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        (
            Arc::new(Field::new("a,B", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![None, Some(-5)])) as ArrayRef,
        ),
    ]);
    let mixed = sample();
    let fields = mixed.schema().fields().clone();
    let mixed = StructArray::new(fields, mixed.columns().to_vec(), Some(vec![true, false].into()));
    batch(vec![("numbers", Arc::new(numbers)), ("mixed", Arc::new(mixed))])
}

#[tokio::test]
async fn structs_become_json_text_or_maps() {
    let numbers = batch(vec![("numbers", tagged().column(0).clone())]);
    let refused = fault("a.parquet", parquet(&numbers), "").await;
    assert!(refused.ends_with(
        "rename it in the files; or set source.files.objects = \"json\" or \"map\", so that objects within records become \
         JSON text or maps"
    ), "{refused}");
    let maps = read_one("a.parquet", parquet(&numbers), ", objects = \"map\"").await.unwrap();
    assert_eq!(maps.columns, "numbers map<string,bigint>");
    assert_eq!(maps.rows, ["{aws:x: 1, a,B: -}", "{aws:x: 2, a,B: -5}"]);
    let declared = ", columns = { numbers = \"map<string,decimal(20,0)>\" }";
    assert_eq!(read_one("a.parquet", parquet(&numbers), declared).await.unwrap().rows[1], "{aws:x: 2, a,B: -5}");
    let mixed = fault("a.parquet", parquet(&tagged()), ", objects = \"map\"").await;
    assert_eq!(
        mixed,
        "a.parquet: column \"mixed\": the fields of a struct have different types, so it can't be a map: set \
         source.files.objects = \"json\""
    );
    for more in [", objects = \"json\"", ", columns = { numbers = \"string\", mixed = \"string\" }"] {
        let json = read_one("a.parquet", parquet(&tagged()), more).await.unwrap();
        assert_eq!(json.columns, "numbers string, mixed string");
        assert_eq!(json.rows[1], "{\"aws:x\":2,\"a,B\":-5}|-");
        let (numbers, mixed) = json.rows[0].split_once('|').unwrap();
        assert_eq!(numbers, "{\"aws:x\":1,\"a,B\":null}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(mixed).unwrap(),
            serde_json::json!({
                "ID": 4_294_967_295_u32, "name": "山田", "kind": "a", "at": "1970-01-01T00:00:00.000001Z",
                "ms": "1970-01-01T00:00:00.001", "time": "00:00:01.000001", "price": 1.5, "tags": [1, null],
                "extra": { "k": 65_535 }, "nested": { "Big": u64::MAX }
            })
        );
    }
}

//! Files in S3 → rows, and the exact words of everything that can be wrong with them.

use std::{io::Write, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Decimal128Array, DictionaryArray, Int8Array, Int64Array, LargeStringArray, ListArray, RecordBatch,
    StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array,
    builder::{MapBuilder, StringBuilder, UInt16Builder},
    types::{Int32Type, TimestampNanosecondType},
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field};
use futures::TryStreamExt;
use parquet::{
    basic::{Compression, GzipLevel, ZstdLevel},
    data_type::{Int96, Int96Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use tests::{
    memory,
    types_page::{arrow, in_code, table},
};
use turntable::{
    config::{Config, Files, OnUnrepresentable, Source},
    error::{Kind, Result},
    manifest::TypedBy,
    name::TableName,
    schema,
    source::{self, Context, Opened},
};

/// The options as datasets.toml has them.
fn options(toml: &str) -> Files {
    let text = format!(
        "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         [datasets.users]\nsource = {{ files = {{ {toml} }} }}\n"
    );
    match Config::parse("datasets.toml", &text).unwrap().dataset("users").unwrap().source.clone() {
        Source::Files(files) => files,
        _ => unreachable!(),
    }
}

async fn open(objects: &memory::Objects, toml: &str) -> Result<Opened> {
    open_with(objects, toml, OnUnrepresentable::Error).await
}

async fn open_with(objects: &memory::Objects, toml: &str, on_unrepresentable: OnUnrepresentable) -> Result<Opened> {
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let context = Context {
        objects: Arc::new(objects.clone()),
        secrets: None,
        iam: None,
        now,
        table: TableName { database: "dmp".into(), table: "t".into() },
        on_unrepresentable,
        copies: None,
    };
    source::open(&Source::Files(options(toml)), &context).await
}

struct Table {
    typed_by: TypedBy,
    /// `name type, name type`
    columns: String,
    /// Every value in words, nulls as `-`.
    rows: Vec<String>,
}

async fn read(objects: &memory::Objects, toml: &str) -> Result<Table> {
    rows(open(objects, toml).await?).await
}

async fn rows(opened: Opened) -> Result<Table> {
    assert_eq!(opened.as_of.to_string(), "2026-11-22T00:00:00Z");
    let columns = schema::columns(&opened.schema).unwrap();
    let columns: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.glue_type)).collect();
    let mut rows = Vec::new();
    for stream in opened.streams {
        for batch in stream.try_collect::<Vec<RecordBatch>>().await? {
            assert_eq!(batch.schema(), opened.schema);
            let options = FormatOptions::new().with_null("-");
            let columns: Vec<ArrayRef> = batch.columns().iter().map(without_zone).collect();
            let columns: Vec<ArrayFormatter> =
                columns.iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            for row in 0..batch.num_rows() {
                let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
                rows.push(values.join("|"));
            }
        }
    }
    Ok(Table { typed_by: opened.typed_by, columns: columns.join(", "), rows })
}

/// The formatter knows no zones; those here are all of UTC.
fn without_zone(column: &ArrayRef) -> ArrayRef {
    match column.as_any().downcast_ref::<TimestampMicrosecondArray>() {
        Some(times) => Arc::new(times.clone().with_timezone_opt(None::<&str>)),
        None => column.clone(),
    }
}

const PLACE: &str = "location = \"s3://lake/in/users\"";

async fn read_one(name: &str, body: impl Into<Vec<u8>>, more: &str) -> Result<Table> {
    let objects = memory::Objects::default();
    objects.put(&format!("s3://lake/in/users/{name}"), body.into());
    read(&objects, &format!("{PLACE}{more}")).await
}

/// The kind and the words of the error; panics where there is none.
async fn fault(name: &str, body: impl Into<Vec<u8>>, more: &str) -> String {
    let error = read_one(name, body, more).await.err().expect("an error");
    assert_eq!(error.kind(), Kind::Input);
    error.message().replace("s3://lake/in/users/", "")
}

const COLUMNS: &str = ", columns = { id = \"bigint\", name = \"string\", age = \"tinyint\" }";

#[tokio::test]
async fn declared_columns_are_found_by_name() {
    let table =
        read_one("a.csv", "\u{feff}Name,AGE,id\r\n山田,7,1\r\n\"a\r\nb\",,2\r\n\"\",\"\",3", COLUMNS).await.unwrap();
    assert_eq!(table.typed_by, TypedBy::Declared);
    assert_eq!(table.columns, "id bigint, name string, age tinyint");
    assert_eq!(table.rows, ["1|山田|7", "2|a\r\nb|-", "3||-"]);
}

#[tokio::test]
async fn types_are_inferred_from_what_they_keep() {
    let csv = "id,phone,score,ok,born,seen,at,note\n\
               1,007,1.5,true,2024-01-31,2024-01-31T00:00:00,2024-01-31T09:00:00+09:00,\n\
               2,08,2,FALSE,,2024-01-31 01:00:00.000001,,\n";
    let table = read_one("a.csv", csv, "").await.unwrap();
    assert_eq!(table.typed_by, TypedBy::Inferred);
    assert_eq!(
        table.columns,
        "id bigint, phone string, score double, ok boolean, born date, seen timestamp, at timestamp, note string"
    );
    assert_eq!(
        table.rows,
        [
            "1|007|1.5|true|2024-01-31|2024-01-31T00:00:00|2024-01-31T00:00:00|-",
            "2|08|2.0|false|-|2024-01-31T01:00:00.000001|-|-"
        ]
    );
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_named_and_never_shown() {
    let csv = |row: &str| format!("id,name,age\n1,\"a\n\nb\",2\n{row}\n");
    for (row, expected) in [
        ("1,a", "a.csv: line 5: 2 fields where the header has 3"),
        ("1,a,2,3", "a.csv: line 5: 4 fields where the header has 3"),
        ("x,a,2", "a.csv: line 5: column \"id\" is bigint: not a whole number"),
        ("1,a,300", "a.csv: line 5: column \"age\" is tinyint: out of the type's range"),
        ("1,\"a,2", "a.csv: line 5: a quote that is not closed"),
        ("1,\"a\"b,2", "a.csv: line 5: text between a closing quote and the next delimiter"),
    ] {
        assert_eq!(fault("a.csv", csv(row), COLUMNS).await, expected);
    }
    assert_eq!(
        fault("a.csv", b"id,name,age\n1,\xe9,2\n", COLUMNS).await,
        "a.csv: line 2: column \"name\" is string: not UTF-8"
    );
}

#[tokio::test]
async fn a_later_row_that_breaks_an_inferred_type_says_what_to_do() {
    let csv = |last: &str| format!("id\n{}{last}\n", "1\n".repeat(10_000));
    for last in ["x", "007", "+1", "2.0"] {
        assert_eq!(
            fault("a.csv", csv(last), "").await,
            "a.csv: line 10002: column \"id\" was inferred to be bigint from the first records: not a whole number; \
             declare the columns"
        );
    }
    assert_eq!(read_one("a.csv", csv("2"), "").await.unwrap().rows.len(), 10_001);
}

/// As Excel on Windows saves it, by Python's cp932: ①, ～, 髙, ㈱, half-width kana, and characters of which a byte is a
/// backslash.
const CP932: &[u8] = b"\x89\xef\x88\xf5\x94\xd4\x8d\x86,\x8e\x81\x96\xbc,\x94\xf5\x8dl\x0d\x0a\
    1,\xee\xe0\x8b\xb4 \x87@,\x81`\xb6\xc5\x81`\x0d\x0a\
    2,\x8eR\xed\x95 \x83\x5c\x94\x5c\x95\x5c,\x22\x87\x8a\xb1\xca\xde\xdd\xc1\x81A\x5c\xce\xdf\x22\x22\x0d\x0a\
    \x22\x22\x87V\x22\x0d\x0a";

#[tokio::test]
async fn shift_jis_is_read_as_windows_writes_it() {
    let options = ", csv = { encoding = \"shift_jis\" }";
    let table = read_one("a.csv", CP932, options).await.unwrap();
    assert_eq!(table.columns, "会員番号 bigint, 氏名 string, 備考 string");
    assert_eq!(table.rows, ["1|髙橋 ①|～ｶﾅ～", "2|山﨑 ソ能表|㈱ｱﾊﾞﾝﾁ、\\ﾎﾟ\"\r\n\"Ⅲ"]);
    let escaped = ", csv = { encoding = \"shift_jis\", escape = \"\\\\\" }, columns = { id = \"int\", s = \"string\" }";
    let table = read_one("a.csv", b"id,s\n1,\"\x83\x5c\x5c\"\x95\x5c\"\n", escaped).await.unwrap();
    assert_eq!(table.rows, ["1|ソ\"表"]);
    assert_eq!(
        fault("a.csv", CP932, "").await,
        "a.csv: line 1: the header is not UTF-8: what else it is can be said by csv.encoding"
    );
}

#[tokio::test]
async fn what_is_not_in_its_encoding_is_named_and_never_replaced() {
    let options = ", csv = { encoding = \"shift_jis\" }, columns = { id = \"bigint\", name = \"string\" }";
    let rows: Vec<u8> = (0..100_000).flat_map(|id| [format!("{id},").as_bytes(), b"\x83\x5c\n"].concat()).collect();
    for (tail, expected) in [
        (&b"1,a\xa0b\n2,c\n"[..], "a.csv: line 100002: column \"name\": not shift_jis"),
        (b"\xff,a\n", "a.csv: line 100002: column \"id\": not shift_jis"),
        (b"1,\"a\n\n\xfd\"\n", "a.csv: line 100002: column \"name\": not shift_jis"),
        (b"1,\x83", "a.csv: line 100002: column \"name\": not shift_jis"),
    ] {
        let text = [b"id,name\n", &rows[..], tail].concat();
        assert_eq!(fault("a.csv", text, options).await, expected);
    }
    assert_eq!(fault("a.csv", b"id,\xff\n", options).await, "a.csv: line 1: field 2: not shift_jis");
    assert_eq!(read_one("a.csv", [b"id,name\n", &rows[..]].concat(), options).await.unwrap().rows.len(), 100_000);
}

#[tokio::test]
async fn other_encodings_are_read_with_and_without_a_mark() {
    let utf16 = |mark: &str| format!("{mark}id\tname\r\n1\t山𠮷é\r\n").encode_utf16().collect::<Vec<u16>>();
    let little = |mark| utf16(mark).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let big = |mark| utf16(mark).into_iter().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    for (encoding, text, name) in [
        ("utf-16le", little("\u{feff}"), "山𠮷é"),
        ("utf-16le", little(""), "山𠮷é"),
        ("utf-16be", big("\u{feff}"), "山𠮷é"),
        ("utf-8", "\u{feff}id\tname\n1\té".into(), "é"),
        ("windows-1252", b"id\tname\n1\t\x93\xe9\x94 \x80".to_vec(), "“é” €"),
        ("euc-jp", b"id\tname\n1\t\xbb\xb3\xc5\xc4\x8e\xb6".to_vec(), "山田ｶ"),
    ] {
        let options = format!(", csv = {{ delimiter = \"\\t\", encoding = \"{encoding}\" }}");
        let table = read_one("a.csv", text, &options).await.unwrap();
        assert_eq!(
            (table.columns.as_str(), table.rows),
            ("id bigint, name string", vec![format!("1|{name}")]),
            "{encoding}"
        );
    }
    let lone = [&little("")[..], &[0x31, 0, 9, 0, 0x00, 0xd8, 0x41, 0]].concat();
    let options = ", csv = { delimiter = \"\\t\", encoding = \"utf-16le\" }";
    assert_eq!(fault("a.csv", lone, options).await, "a.csv: line 3: column \"name\": not utf-16le");
}

#[tokio::test]
async fn csv_may_be_written_otherwise() {
    let columns = ", columns = { id = \"int\", name = \"string\", born = \"date\" }";
    let none = format!("{columns}, csv = {{ delimiter = \"|\", quote = \"\", null = \"\\\\N\", header = false }}");
    let table = read_one("a.csv", "1|\"x|2024-01-31\n\\N|\\N|\\N\n2||\n", &none).await.unwrap();
    assert_eq!(table.rows, ["1|\"x|2024-01-31", "-|-|-", "2||-"]);
    assert_eq!(
        fault("a.csv", "1|x|2024-01-31\n1|x\n", &none).await,
        "a.csv: line 2: 2 fields where the declared columns are 3"
    );
    let words = format!("{columns}, csv = {{ null = [\"\", \"NULL\", \"n/a\"] }}");
    let table = read_one("a.csv", "born,id,name\nn/a,1,NULL\n,2,\"NULL\"\nNULL,3,\"\"\n", &words).await.unwrap();
    assert_eq!(table.rows, ["1|-|-", "2|NULL|-", "3||-"]);
    let table = read_one("a.csv", "a,b\n-,x\n1,-\n", ", csv = { null = \"-\" }").await.unwrap();
    assert_eq!((table.columns.as_str(), table.rows), ("a bigint, b string", vec!["-|x".into(), "1|-".into()]));

    let objects = memory::Objects::default();
    objects.put("s3://lake/in/users/a.ndjson", "{}");
    let error = read(&objects, &format!("{PLACE}, csv = {{}}")).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(
        error.message(),
        "s3://lake/in/users/a.ndjson: is no CSV, and source.files.csv has options of CSV: drop them"
    );
}

#[tokio::test]
async fn a_value_without_a_place_is_null_where_the_dataset_says_so() {
    let columns = ", columns = { n = \"tinyint\", d = \"decimal(4,2)\", t = \"timestamp\", l = \"array<tinyint>\" }";
    let good = "n,d,t,l\n1,1.5,2024-01-31 00:00:00,[1]\n";
    let bad = "300,1.555,2024-01-31 00:00:00.0000001,\n7,123,2024-01-31,\n";
    let json = "{\"n\":300,\"d\":1.555,\"t\":\"2024-01-31 00:00:00.0000001\"}\n{\"n\":7,\"d\":123}\n";
    for (name, text) in [("a.csv", format!("{good}{bad}")), ("a.json", json.into())] {
        assert!(fault(name, text.clone(), columns).await.contains("column \"n\" is tinyint: out of the type's range"));
        let (rows, nulled) = read_with_nulls(name, text, columns).await.unwrap();
        assert_eq!(rows[rows.len() - 2], "-|-|-|-", "{name}");
        assert_eq!(nulled, "{\"d\": 2, \"n\": 1, \"t\": 1}", "{name}");
    }
    for still in ["n,d,t,l\nx,1,2024-01-31,\n", "n,d,t,l\n1,1,2024-01-31,\"[1,300]\"\n"] {
        assert!(read_with_nulls("a.csv", still.to_owned(), columns).await.is_err(), "{still}");
    }
}

async fn read_with_nulls(name: &str, body: impl Into<Vec<u8>>, more: &str) -> Result<(Vec<String>, String)> {
    let objects = memory::Objects::default();
    objects.put(&format!("s3://lake/in/users/{name}"), body.into());
    let opened = open_with(&objects, &format!("{PLACE}{more}"), OnUnrepresentable::Null).await?;
    let counted = opened.unrepresentable.clone();
    let rows = rows(opened).await?;
    Ok((rows.rows, format!("{:?}", counted.nulled())))
}

#[tokio::test]
async fn headers_are_checked() {
    for (header, expected) in [
        ("id,name", "a.csv: line 1: the header is not the declared columns: it lacks \"age\""),
        ("id,name,age,x,y", "a.csv: line 1: the header is not the declared columns: it has \"x\", \"y\" besides"),
        (
            "id,nam,age",
            "a.csv: line 1: the header is not the declared columns: it lacks \"name\", and has \"nam\" besides",
        ),
        ("id,name,ID", "a.csv: line 1: the header has \"id\" twice (in lower case)"),
        ("id,,age", "a.csv: line 1: the header has no name for column 2"),
        ("id\r1,name,age", "a.csv: line 1: the header's name for column 1 has a control character"),
    ] {
        assert_eq!(fault("a.csv", format!("{header}\n"), COLUMNS).await, expected);
    }
    let objects = memory::Objects::default();
    objects.put("s3://lake/in/users/a.csv", "id,name\n1,a\n");
    objects.put("s3://lake/in/users/b.csv", "name,id\nb,2\n");
    assert_eq!(read(&objects, PLACE).await.unwrap().rows, ["1|a", "2|b"]);
    objects.put("s3://lake/in/users/c.csv", "id,nom\n1,a\n");
    assert_eq!(
        read(&objects, PLACE).await.err().unwrap().message(),
        "s3://lake/in/users/c.csv: line 1: the header is not the first object's: it lacks \"name\", and has \"nom\" besides"
    );
}

fn gzip(text: &str) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    to.write_all(text.as_bytes()).unwrap();
    to.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

#[tokio::test]
async fn compressed_texts_may_be_of_several_parts() {
    for (name, body) in [
        ("a.csv.gz", [gzip("id\n1\n"), gzip("2\n")].concat()),
        ("a.csv.zst", [zstd("id\n1\n"), zstd("2\n")].concat()),
        ("a.ndjson.gz", [gzip("{\"id\":1}\n"), gzip("{\"id\":2}\n")].concat()),
    ] {
        assert_eq!(read_one(name, body.clone(), "").await.unwrap().rows, ["1", "2"], "{name}");
        for length in 1..body.len() {
            if let Ok(table) = read_one(name, &body[..length], ", columns = { id = \"bigint\" }").await {
                assert_eq!(table.rows, ["1"], "{name}: only a whole first part is a text");
            }
        }
    }
    assert_eq!(fault("a.csv.gz", "id\n1\n", "").await, "a.csv.gz is damaged or no gzip");
    assert_eq!(fault("a.csv.zst", "id\n1\n", "").await, "a.csv.zst is damaged or no zstd");
}

#[tokio::test]
async fn a_location_is_an_object_or_a_folder() {
    let objects = memory::Objects::default();
    for hidden in ["_SUCCESS", ".a.crc", "_tmp/a.csv", "deep/.x/a.csv", "folder/"] {
        objects.put(&format!("s3://lake/in/users/{hidden}"), "");
    }
    objects.put("s3://lake/in/users2/a.csv", "id\n2\n");
    let missing = read(&objects, PLACE).await.err().unwrap();
    assert_eq!(missing.message(), "s3://lake/in/users: no objects; an empty table needs its columns declared");
    let empty = read(&objects, &format!("{PLACE}{COLUMNS}")).await.unwrap();
    assert_eq!((empty.columns.as_str(), empty.rows.len()), ("id bigint, name string, age tinyint", 0));
    objects.put("s3://lake/in/users/day=1/a.csv", "id\n1\n");
    objects.put("s3://lake/in/users/empty.csv", "");
    for place in ["users", "users/", "users/day=1/a.csv", "users/day=1"] {
        let place = format!("location = \"s3://lake/in/{place}\"");
        assert_eq!(read(&objects, &place).await.unwrap().rows, ["1"]);
    }
    objects.put("s3://lake/in/users/b.txt", "id\n1\n");
    assert_eq!(
        read(&objects, PLACE).await.err().unwrap().message(),
        "s3://lake/in/users/b.txt: the name tells no format, expected .csv, .ndjson, .jsonl, .json (each also with \
         .gz or .zst) or .parquet; or set format"
    );
    assert_eq!(read(&objects, &format!("{PLACE}, format = \"csv\"")).await.unwrap().rows, ["1", "1"]);
    objects.delete("s3://lake/in/users/b.txt");
    objects.put("s3://lake/in/users/c.json", "{}");
    assert_eq!(
        read(&objects, PLACE).await.err().unwrap().message(),
        "s3://lake/in/users/day=1/a.csv: is csv, and s3://lake/in/users/c.json is ndjson; keep one format in one place"
    );
}

#[tokio::test]
async fn a_header_alone_is_an_empty_table_of_strings() {
    let table = read_one("a.csv", "id,name\n", "").await.unwrap();
    assert_eq!((table.columns.as_str(), table.rows.len()), ("id string, name string", 0));
    assert_eq!(
        fault("a.csv", "", "").await,
        "s3://lake/in/users: no object has a header; an empty table needs its columns declared"
    );
}

#[tokio::test]
async fn an_object_that_changes_meanwhile_is_an_error() {
    let objects = memory::Objects::default();
    objects.put("s3://lake/in/users/a.csv", "id\n1\n");
    let opened = open(&objects, PLACE).await.unwrap();
    objects.put("s3://lake/in/users/a.csv", "id\n2\n");
    let error = opened.streams.into_iter().next().unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
}

#[tokio::test]
async fn objects_of_real_size_are_dealt_out_to_streams() {
    let objects = memory::Objects::default();
    for number in 0..6 {
        let rows: String = (0..800_000).map(|row| format!("{number},{row:07}\n")).collect();
        objects.put(&format!("s3://lake/in/users/{number}.csv"), format!("a,b\n{rows}"));
    }
    let opened = open(&objects, PLACE).await.unwrap();
    assert_eq!(opened.streams.len(), 2);
    let streams = futures::stream::select_all(opened.streams);
    let rows: usize = streams.try_fold(0, |sum, batch| async move { Ok(sum + batch.num_rows()) }).await.unwrap();
    assert_eq!(rows, 6 * 800_000);
}

#[tokio::test]
async fn json_keeps_digits_and_nests() {
    let columns = ", columns = { id = \"bigint\", price = \"decimal(20,2)\", tags = \"array<string>\", \
                   address = \"struct<city:string,zip:int>\", extra = \"map<string,double>\", raw = \"string\" }";
    let json = "{\"ID\":9007199254740993,\"price\":123456789012345678.90,\"tags\":[\"a\\u00e9\",null],\
                \"address\":{\"City\":\"x\"},\"extra\":{\"k\":1e3},\"raw\":{\"a\": [1]}}\n\n{}\r\n{\"tags\":null,\"raw\":\"t\"}";
    let table = read_one("a.jsonl", json, columns).await.unwrap();
    assert_eq!(
        table.rows,
        [
            "9007199254740993|123456789012345678.90|[aé, -]|{city: x, zip: -}|{k: 1000.0}|{\"a\": [1]}",
            "-|-|-|-|-|-",
            "-|-|-|-|-|t"
        ]
    );
    let table = read_one("a.json", "{\"b\":1,\"A\":{\"y\":\"2024-01-31\"}}\n{\"c\":[1.5,2]}\n", "").await.unwrap();
    assert_eq!(table.columns, "b bigint, a struct<y:date>, c array<double>");
    assert_eq!(table.rows, ["1|{y: 2024-01-31}|-", "-|-|[1.5, 2.0]"]);
}

#[tokio::test]
async fn a_line_that_does_not_fit_is_named_and_never_shown() {
    let columns = ", columns = { id = \"bigint\", a = \"struct<b:array<int>>\" }";
    for (line, expected) in [
        ("{\"id\":1.5}", "a.json: line 2: column \"id\" is bigint: not a whole number"),
        ("{\"id\":[1]}", "a.json: line 2: column \"id\" is bigint: an array or an object"),
        ("{\"id\":1,\"ID\":1}", "a.json: line 2: column \"id\" stands there twice"),
        ("{\"x\":1}", "a.json: line 2: column \"x\" is not known: declare all columns, or leave it out"),
        ("{\"a\":{\"c\":1}}", "a.json: line 2: column \"a.c\" is not known: declare all columns, or leave it out"),
        ("{\"a\":{\"b\":[\"x\"]}}", "a.json: line 2: column \"a.b\" is int: not a whole number"),
        ("{\"a\":1}", "a.json: line 2: column \"a\" is struct<b:array<int>>: not a JSON object"),
        ("{\"id\":\"\\ud800\"}", "a.json: line 2: column \"id\" is bigint: not a JSON string"),
        ("{\"id\":1", "a.json: line 2: not JSON at byte 7"),
        ("{\"id\":1}}", "a.json: line 2: not JSON at byte 9"),
        ("[1]", "a.json: line 2: not a JSON object"),
    ] {
        assert_eq!(fault("a.json", format!("{{}}\n{line}\n"), columns).await, expected);
    }
    assert_eq!(fault("a.json", b"{\"id\":\"\xff\"}", columns).await, "a.json: line 1: not UTF-8 at byte 8");
    let deep = format!("{{\"id\":{}", "[".repeat(1_000_000));
    assert_eq!(fault("a.json", deep, columns).await, "a.json: line 1: not JSON at byte 1000006");
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read_one("a.json", deep, "").await.unwrap().columns, "x string");
}

/// Whatever the bytes are, there is an answer or an error, and no panic (which would be `Corrupt`).
#[tokio::test]
async fn a_record_is_not_wider_than_memory_bears() {
    let names = |columns: usize| (0..columns).map(|at| format!("c{at}")).collect::<Vec<_>>();
    let csv = |columns| format!("{}\n{}\n", names(columns).join(","), vec!["1"; columns].join(","));
    let pairs = |columns| names(columns).iter().map(|name| format!("\"{name}\":1")).collect::<Vec<_>>();
    let object = |columns| format!("{{{}}}\n", pairs(columns).join(","));
    for (name, widest, wider, why) in [
        ("a.csv", csv(10_000), csv(10_001), "a.csv: line 1: a record of more than 10,000 fields"),
        (
            "a.json",
            object(10_000),
            object(10_001),
            "a.json: line 1: an object of more than 10000 names, or with a name that is no text",
        ),
    ] {
        assert_eq!(read_one(name, widest, "").await.unwrap().rows.len(), 1);
        let columns = if name == "a.csv" { "" } else { ", columns = { c0 = \"int\" }" };
        assert_eq!(fault(name, wider, columns).await, why);
    }
}

#[tokio::test]
async fn damaged_texts_are_errors_and_no_panics() {
    let csv = "id,name,age\n1,\"a\"\"b\",2\r\n2,\"x\ny\",\n3,é,4\n";
    let json = "{\"id\":1,\"name\":\"a\\u00e9\",\"age\":2}\n{\"id\":null,\"name\":[1,{}],\"age\":-3}\n";
    for (name, body) in [
        ("a.csv", csv.as_bytes().to_vec()),
        ("a.csv.gz", gzip(csv)),
        ("a.csv.zst", zstd(csv)),
        ("a.json", json.as_bytes().to_vec()),
    ] {
        for at in 0..body.len() {
            for damage in [0x00, 0x22, 0x2c, 0x0a, 0x0d, 0x7b, 0xff, body[at] ^ 1] {
                let mut damaged = body.clone();
                damaged[at] = damage;
                for damaged in [&damaged[..], &damaged[..at]] {
                    for columns in ["", COLUMNS] {
                        if let Err(error) = read_one(name, damaged, columns).await {
                            assert_eq!(error.kind(), Kind::Input, "{}", error.report());
                        }
                    }
                }
            }
        }
    }
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    parquet_by(batch, Compression::UNCOMPRESSED)
}

fn parquet_by(batch: &RecordBatch, compression: Compression) -> Vec<u8> {
    let mut bytes = Vec::new();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
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
async fn parquet_says_its_types() {
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

/// As Spark and Hive once wrote timestamps: nanoseconds of the day, and the Julian day. Two columns, of which the second
/// is a struct's.
/// Athena's own tables are of gzip where nobody has said otherwise.
#[tokio::test]
async fn parquet_may_be_compressed_by_whom_it_likes() {
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

fn int96(values: &[Option<(u64, u32)>]) -> Vec<u8> {
    let message = "message m { optional int96 t; optional group s { optional int96 u; } }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
    for values in values.chunks(10_000) {
        let mut rows = file.next_row_group().unwrap();
        for defined in [1, 2] {
            let mut column = rows.next_column().unwrap().unwrap();
            let raw = |(nanos, day): &(u64, u32)| {
                let mut value = Int96::new();
                value.set_data(*nanos as u32, (nanos >> 32) as u32, 2_440_588 + day);
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

const YEAR_9999: u32 = 2_932_896;

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
            "table dmp.t, column \"t\", a.parquet row 20002: a timestamp finer than a microsecond: round it where it is \
             written, or let it be NULL by on_unrepresentable = \"null\""
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

#[tokio::test]
async fn parquet_is_cast_only_where_nothing_is_lost() {
    let numbers = batch(vec![("N", Arc::new(Int64Array::from(vec![1, 300])))]);
    for (to, expected) in [("int", "1 300"), ("decimal(5,2)", "1.00 300.00")] {
        let columns = format!(", columns = {{ n = \"{to}\" }}");
        assert_eq!(read_one("a.parquet", parquet(&numbers), &columns).await.unwrap().rows.join(" "), expected);
    }
    for (to, expected) in [
        ("{ n = \"tinyint\" }", "a.parquet: column \"n\": a value that does not fit Int8"),
        ("{ n = \"double\" }", "a.parquet: column \"n\": Int64 does not fit Float64 without loss"),
        ("{ n = \"bigint\", m = \"int\" }", "a.parquet: column \"m\" is missing"),
        ("{ m = \"bigint\" }", "a.parquet: column \"n\" is there besides"),
    ] {
        assert_eq!(fault("a.parquet", parquet(&numbers), &format!(", columns = {to}")).await, expected);
    }
    let twice = batch(vec![("a", Arc::new(Int8Array::from(vec![1]))), ("A", Arc::new(Int8Array::from(vec![1])))]);
    assert_eq!(
        fault("a.parquet", parquet(&twice), "").await,
        "a.parquet: column \"a\" stands there twice (in lower case)"
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
        "s3://lake/in/users/b.parquet: column \"n\" is string, and bigint in s3://lake/in/users/a.parquet"
    );
}

#[tokio::test]
async fn damaged_parquet_is_an_error_and_no_panic() {
    let body = parquet(&sample());
    assert_eq!(fault("a.parquet", "id\n", "").await, "a.parquet is damaged or no Parquet");
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

/// A column as Parquet's own text has it, for what docs/types.md calls it.
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
            let glue = schema::columns(&opened.schema).unwrap().remove(0).glue_type;
            let found = [arrow(opened.schema.field(0).data_type()), glue];
            if found != row[1..3] {
                wrong.push(format!("{of}: {found:?}, the page says {:?}", &row[1..3]));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, 29);
}

//! Columns that only some files have, and names and types that Glue or Athena can't read.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use tests::{memory, rig::Rig};
use turntable::{manifest::Manifest, port::Objects};

use super::{PLACE, fault, open, read, read_one, rows};

fn parquet(columns: &[(&str, i64)]) -> Vec<u8> {
    let array = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let batch = RecordBatch::try_from_iter(columns.iter().map(|(name, value)| (*name, array(*value)))).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn csv(columns: &[(&str, i64)]) -> Vec<u8> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<String> = columns.iter().map(|(_, value)| value.to_string()).collect();
    format!("{}\n{}\n", names.join(","), values.join(",")).into_bytes()
}

fn json(columns: &[(&str, i64)]) -> Vec<u8> {
    let pairs: Vec<String> = columns.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}\n", pairs.join(",")).into_bytes()
}

const FILES: [&[(&str, i64)]; 3] =
    [&[("id", 1), ("a", 10)], &[("B", 21), ("id", 2)], &[("a", 30), ("id", 3), ("x", 0)]];

#[tokio::test]
async fn missing_and_extra_columns_are_errors_or_counted() {
    type Write = fn(&[(&str, i64)]) -> Vec<u8>;
    for (format, write) in [("csv", csv as Write), ("json", json), ("parquet", parquet)] {
        let objects = memory::Objects::default();
        for (at, columns) in FILES.iter().enumerate() {
            objects.put(&format!("s3://lake/in/users/{at}.{format}"), write(columns));
        }
        let columns = format!("{PLACE}, columns = {{ id = \"bigint\", a = \"bigint\", b = \"bigint\" }}");
        assert!(read(&objects, &columns).await.is_err(), "{format}");
        let missing = format!("{columns}, missing = \"null\"");
        assert!(read(&objects, &missing).await.err().unwrap().message().contains("\"x\""), "{format}");
        if format != "json" {
            let extra = format!("{columns}, extra = \"ignore\"");
            assert!(read(&objects, &extra).await.err().unwrap().message().contains("missing"), "{format}");
        }
        let opened = open(&objects, &format!("{missing}, extra = \"ignore\"")).await.unwrap();
        let counted = opened.unrepresentable.clone();
        assert_eq!(rows(opened).await.unwrap().rows, ["1|10|-", "2|-|21", "3|30|-"], "{format}");
        let counts = (counted.unmatched.missing(), counted.unmatched.ignored());
        // Records in JSON may always lack names.
        let lacked = if format == "json" { "{}" } else { "{\"a\": 1, \"b\": 2}" };
        assert_eq!(format!("{counts:?}"), format!("({lacked}, {{\"x\": 1}})"), "{format}");
    }
}

#[tokio::test]
async fn the_manifest_counts_what_was_missing_and_ignored() {
    let rig = Rig::default();
    let files = "files = { location = \"s3://lake/some/\", columns = { id = \"bigint\", b = \"int\" }, missing = \"null\", \
                 extra = \"ignore\" }";
    rig.configure_source(files, "");
    rig.objects.put("s3://lake/some/0.csv", "id,a\n1,1\n2,2\n");
    rig.objects.put("s3://lake/some/1.csv", "b,id\n1,3\n");
    let generation = rig.export().await;
    let key = rig.paths.manifest(&generation);
    let json = rig.objects.get(&key).await.unwrap().unwrap();
    let manifest = Manifest::from_json(&key, &generation, &json).unwrap();
    assert_eq!(format!("{:?} {:?}", manifest.missing, manifest.ignored), "{\"b\": 2} {\"a\": 2}");
    let text = String::from_utf8(json.to_vec()).unwrap();
    assert!(text.contains("\"missing\"") && text.contains("\"ignored\""), "{text}");
}

#[tokio::test]
async fn names_that_athena_cannot_read_are_refused_or_become_text_or_a_map() {
    let json = "{\"id\":1,\"m\":{\"aws:x\":\"a\",\"b,c\":{\"d\":1}},\"l\":[{\"e f\":2}]}\n";
    let advice = "rename it in the files; or set source.files.objects = \"json\" or \"map\", so that objects within records \
                  become JSON text or maps";
    assert_eq!(
        fault("a.json", json, "").await,
        format!(
            "s3://lake/in/users: column \"m\": Athena can't read the field name \"aws:x\", because the names of a struct's \
             fields consist of letters, digits, _, . and $; column \"l\": Athena can't read the field name \"e f\", because \
             the names of a struct's fields consist of letters, digits, _, . and $: {advice}"
        )
    );
    let table = read_one("a.json", json, ", objects = \"json\"").await.unwrap();
    assert_eq!(table.columns, "id bigint, m string, l array<string>");
    assert_eq!(table.rows, ["1|{\"aws:x\":\"a\",\"b,c\":{\"d\":1}}|[{\"e f\":2}]"]);
    let table = read_one("a.json", json, ", objects = \"map\"").await.unwrap();
    assert_eq!(table.columns, "id bigint, m map<string,string>, l array<map<string,bigint>>");
    assert_eq!(table.rows, ["1|{aws:x: a, b,c: {\"d\":1}}|[{e f: 2}]"]);
    let long = format!("{{\"{}\":1}}", "n".repeat(256));
    assert!(fault("a.json", long, "").await.contains("its name has 256 bytes, but Glue's names have at most 255"));
    assert!(fault("a.json", "{\"\":1}", "").await.ends_with("a column has no name: rename it in the files"));
    assert!(fault("a.json", "{\"a\\nb\":1}", "").await.contains("contains a control character"));

    let field = Arc::new(Field::new("aws:x", DataType::Int64, true));
    let nested = StructArray::from(vec![(field, Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let batch = RecordBatch::try_from_iter([("m", Arc::new(nested) as ArrayRef)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let rig = Rig::default();
    rig.configure_source("files = { location = \"s3://lake/some/\" }", "");
    rig.objects.put("s3://lake/some/0.parquet", bytes);
    let error = rig.export_with(rig.env(), serde_json::json!({ "dataset": "users" })).await.err().unwrap();
    assert!(error.message().contains("can't read the field name \"aws:x\""), "{}", error.message());
}

//! Parquet objects that are copied unchanged into a generation, and Parquet objects that must not be.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMillisecondArray,
    types::Int32Type,
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding},
    file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder},
};
use tests::{memory, rig::Rig};
use turntable::{
    config::{self, Files, OnUnrepresentable, Source},
    error::Kind,
    layout::{Generation, TableName},
    manifest::Manifest,
    port::Objects,
    publish::Outcome,
    sources::{self, Context, Copies},
};

/// How many rows make about one megabyte of Parquet, which is `file_mb` below.
const ROWS: usize = 60_000;

fn columns(from: usize, rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let ids = from as i64..(from + rows) as i64;
    let noise = |id: i64| (id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        ("name", Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("{:016x}", noise(id)))))),
    ]
}

fn parquet(columns: Vec<(&str, ArrayRef)>, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn plain() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_compression(Compression::SNAPPY)
}

/// Creates a rig whose dataset `users` reads Parquet at `s3://lake/in/`, with files and row groups of about a megabyte.
fn rig(columns: &str) -> Rig {
    let rig = Rig::default();
    rig.objects.delete("s3://lake/in/users.csv");
    let text = format!(
        "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n[datasets.users]\n\
         checks = {{ not_null = [\"id\"], range = {{ id = {{ min = 0 }} }} }}\n\
         parquet = {{ file_mb = 1, row_group_mb = 1 }}\nsource = {{ files = {{ location = \"s3://lake/in/\"{columns} }} }}\n"
    );
    rig.objects.put("s3://lake/datasets.toml", text);
    rig
}

async fn manifest(rig: &Rig, generation: &Generation) -> Manifest {
    let key = rig.paths.manifest(generation);
    let json = rig.objects.get(&key).await.unwrap().unwrap();
    Manifest::from_json(&key, generation, &json).unwrap()
}

/// Exports a Parquet object and flips to the generation. Returns whether the object was copied unchanged.
async fn carried(body: Vec<u8>, columns: &str) -> bool {
    let rig = rig(columns);
    let etag = rig.objects.put("s3://lake/in/a.parquet", body.clone());
    let generation = rig.export().await;
    let manifest = manifest(&rig, &generation).await;
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed);
    assert_eq!(manifest.rows, ROWS as u64);
    manifest.files.iter().any(|file| file.etag == etag)
}

#[tokio::test]
async fn suitable_objects_are_copied_and_the_others_are_merged() {
    let rig = rig("");
    let large = [0, ROWS].map(|from| parquet(columns(from, ROWS), plain()));
    let etags: Vec<String> = large
        .iter()
        .enumerate()
        .map(|(at, body)| {
            assert!((1 << 18..1 << 21).contains(&body.len()), "{}", body.len());
            rig.objects.put(&format!("s3://lake/in/{at}.parquet"), body.clone())
        })
        .collect();
    for small in 0..10 {
        let body = parquet(columns(2 * ROWS + 10 * small, 10), plain());
        rig.objects.put(&format!("s3://lake/in/small/{small}.parquet"), body);
    }
    let generation = rig.export().await;
    let manifest = manifest(&rig, &generation).await;
    assert_eq!((manifest.rows, manifest.files.len()), (2 * ROWS as u64 + 100, 3), "ten small ones are one file");
    for (etag, body) in etags.iter().zip(&large) {
        let file = manifest.files.iter().find(|file| file.etag == *etag).expect("carried");
        let there = rig.objects.body(&manifest.location.key(&file.key).to_string()).unwrap();
        assert_eq!((file.rows, file.bytes, &there[..]), (ROWS as u64, body.len() as u64, &body[..]));
    }
    assert_eq!(rig.flip(&generation).await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test]
async fn an_object_is_copied_only_if_readers_and_checks_see_no_difference() {
    assert!(carried(parquet(columns(0, ROWS), plain()), "").await);
    assert!(carried(parquet(columns(0, ROWS), plain()), ", columns = { id = \"bigint\", name = \"string\" }").await);
    for (why, properties) in [
        ("no compression", plain().set_compression(Compression::UNCOMPRESSED)),
        ("no statistics", plain().set_statistics_enabled(EnabledStatistics::None)),
        ("row groups too small", plain().set_max_row_group_row_count(Some(100))),
        (
            "an encoding that not all engines read",
            plain().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BINARY_PACKED),
        ),
    ] {
        let mut columns = columns(0, ROWS);
        if why.contains("encoding") {
            columns.pop();
        }
        assert!(!carried(parquet(columns, properties), "").await, "{why}");
    }
    let upper =
        columns(0, ROWS).into_iter().map(|(name, array)| if name == "id" { ("ID", array) } else { (name, array) });
    assert!(!carried(parquet(upper.collect(), plain()), "").await, "a name in another case");
    let other = ", columns = { name = \"string\", id = \"bigint\" }";
    assert!(!carried(parquet(columns(0, ROWS), plain()), other).await, "another order");
    let wider = ", columns = { id = \"decimal(20,0)\", name = \"string\" }";
    assert!(!carried(parquet(columns(0, ROWS), plain()), wider).await, "another type");
    let mut millis = columns(0, ROWS);
    millis.push(("at", Arc::new(TimestampMillisecondArray::from_iter_values(0..ROWS as i64))));
    assert!(!carried(parquet(millis, plain()), "").await, "a unit that we do not write");
}

/// A check gets the same verdict on the same rows, whether their file is copied or written again.
#[tokio::test]
async fn checks_see_what_a_copied_file_hides() {
    let numbers = |nan: bool| -> ArrayRef {
        let number = |id: usize| if nan && id == 7 { f64::NAN } else { (id % 100) as f64 };
        Arc::new(Float64Array::from_iter_values((0..ROWS).map(number)))
    };
    let tags = |null: bool| -> ArrayRef {
        let list =
            |id: usize| (!null || id != 7).then(|| vec![Some(1), None].into_iter().take(id % 3).collect::<Vec<_>>());
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>((0..ROWS).map(list)))
    };
    for (column, array, checks, verdict) in [
        ("n", numbers(false), "range = { n = { min = 0, max = 99 } }", ""),
        (
            "n",
            numbers(true),
            "range = { n = { min = 0, max = 99 } }",
            "range: n: expected numbers, found NaN in part-00000.parquet (exclude it at the source, or use sql instead)",
        ),
        ("tags", tags(false), "not_null = [\"tags\"]", ""),
        ("tags", tags(true), "not_null = [\"tags\"]", "not_null: tags: expected no nulls, found 1"),
    ] {
        let rig = Rig::default();
        let files = "files = { location = \"s3://lake/in/\" }";
        rig.configure_source(files, &format!("parquet = {{ file_mb = 1, row_group_mb = 1 }}\nchecks = {{ {checks} }}"));
        rig.objects.delete("s3://lake/in/users.csv");
        let mut all = columns(0, ROWS);
        all.push((column, array));
        let etag = rig.objects.put("s3://lake/in/a.parquet", parquet(all, plain()));
        let generation = rig.export().await;
        let copied = manifest(&rig, &generation).await.files.iter().any(|file| file.etag == etag);
        let found = rig.deliver(&generation).await.unwrap();
        assert_eq!(found.reasons.join("; "), verdict, "{column}: {checks}, copied: {copied}");
    }
}

#[tokio::test]
async fn an_object_that_changes_before_its_copy_is_an_error_and_no_copy() {
    let objects = memory::Objects::default();
    let port: Arc<dyn Objects> = Arc::new(objects.clone());
    objects.put("s3://lake/in/a.parquet", parquet(columns(0, ROWS), plain()));
    let context = Context {
        objects: port.clone(),
        secrets: None,
        iam: None,
        now: "2026-11-22T00:00:00Z".parse().unwrap(),
        table: TableName { database: "dmp".into(), table: "t".into() },
        on_unrepresentable: OnUnrepresentable::Error,
        copies: Some(Copies::default()),
    };
    let files = Files {
        bucket: "lake".into(),
        key: "in".into(),
        format: None,
        columns: None,
        csv: None,
        objects: Default::default(),
        missing_is_null: false,
        ignore_extra: false,
    };
    let opened = sources::open(&Source::Files(files), &context).await.unwrap();
    assert_eq!(opened.rows.copies.len(), 1);
    objects.put("s3://lake/in/a.parquet", parquet(columns(1, ROWS), plain()));
    let location = "s3://lake/t/green-01JD675EJRSSKNZWWST95906C6/".parse().unwrap();
    let error = turntable::parquet::write(&port, &location, opened.rows, config::Parquet::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(objects.keys(), ["s3://lake/in/a.parquet"]);
}

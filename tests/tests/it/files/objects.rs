//! Objects: their locations, their compression, and the errors for damaged ones.

use std::io::Write;

use futures::TryStreamExt;
use tests::memory;
use turntable::error::Kind;

use super::{COLUMNS, PLACE, fault, open, read, read_one};

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
    assert_eq!(fault("a.csv.gz", "id\n1\n", "").await, "a.csv.gz is damaged or not gzip: replace the file");
    assert_eq!(fault("a.csv.zst", "id\n1\n", "").await, "a.csv.zst is damaged or not zstd: replace the file");
}

#[tokio::test]
async fn a_location_is_an_object_or_a_folder() {
    let objects = memory::Objects::default();
    for hidden in ["_SUCCESS", ".a.crc", "_tmp/a.csv", "deep/.x/a.csv", "folder/"] {
        objects.put(&format!("s3://lake/in/users/{hidden}"), "");
    }
    objects.put("s3://lake/in/users2/a.csv", "id\n2\n");
    let missing = read(&objects, PLACE).await.err().unwrap();
    assert_eq!(
        missing.message(),
        "s3://lake/in/users has no objects: put one there, or declare source.files.columns to publish an empty table"
    );
    let empty = read(&objects, &format!("{PLACE}{COLUMNS}")).await.unwrap();
    assert_eq!((empty.columns.as_str(), empty.rows.len()), ("id bigint, name string, age tinyint", 0));
    objects.put("s3://lake/in/users/day=1/a.csv", "id\n1\n");
    objects.put("s3://lake/in/users/empty.csv", "");
    for (place, row) in [("users", "1|1"), ("users/", "1|1"), ("users/day=1/a.csv", "1"), ("users/day=1", "1")] {
        let place = format!("location = \"s3://lake/in/{place}\"");
        assert_eq!(read(&objects, &place).await.unwrap().rows, [row]);
    }
    objects.put("s3://lake/in/users/b.txt", "id\n1\n");
    assert_eq!(
        read(&objects, PLACE).await.err().unwrap().message(),
        "s3://lake/in/users/b.txt: unknown file extension: expected .csv, .ndjson, .jsonl, .json (each also with \
         .gz or .zst) or .parquet, or set source.files.format"
    );
    let declared = format!("{PLACE}, format = \"csv\", columns = {{ id = \"int\" }}, extra = \"ignore\"");
    assert_eq!(read(&objects, &declared).await.unwrap().rows, ["1", "1"]);
    objects.delete("s3://lake/in/users/b.txt");
    objects.put("s3://lake/in/users/c.json", "{}");
    assert_eq!(
        read(&objects, PLACE).await.err().unwrap().message(),
        "s3://lake/in/users/day=1/a.csv: format is csv, but s3://lake/in/users/c.json is ndjson: keep one format per \
         location"
    );
}

#[tokio::test]
async fn a_header_alone_is_an_empty_table_of_strings() {
    let table = read_one("a.csv", "id,name\n", "").await.unwrap();
    assert_eq!((table.columns.as_str(), table.rows.len()), ("id string, name string", 0));
    assert_eq!(
        fault("a.csv", "", "").await,
        "s3://lake/in/users: no object has a header: declare source.files.columns to publish an empty table"
    );
}

#[tokio::test]
async fn an_object_that_changes_meanwhile_is_an_error() {
    let objects = memory::Objects::default();
    objects.put("s3://lake/in/users/a.csv", "id\n1\n");
    let opened = open(&objects, PLACE).await.unwrap();
    objects.put("s3://lake/in/users/a.csv", "id\n2\n");
    let error = opened.rows.streams.into_iter().next().unwrap().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
}

#[tokio::test]
async fn large_objects_are_distributed_over_streams() {
    let objects = memory::Objects::default();
    for number in 0..6 {
        let rows: String = (0..800_000).map(|row| format!("{number},{row:07}\n")).collect();
        objects.put(&format!("s3://lake/in/users/{number}.csv"), format!("a,b\n{rows}"));
    }
    let opened = open(&objects, PLACE).await.unwrap();
    assert_eq!(opened.rows.streams.len(), 2);
    let streams = futures::stream::select_all(opened.rows.streams);
    let rows: usize = streams.try_fold(0, |sum, batch| async move { Ok(sum + batch.num_rows()) }).await.unwrap();
    assert_eq!(rows, 6 * 800_000);
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

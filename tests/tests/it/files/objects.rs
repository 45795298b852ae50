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

/// Made by Python's `bz2`: `id\n1\n`, and `2\n`.
const BZIP2: [&[u8]; 2] = [
    b"BZh91AY&SY\x32\xbe\x3b\xb1\0\0\x02\x49\0\0\x10\x20\0\x04\x20\x20\0\x30\xcd\x34\x19\x90\xae\x38\xbb\x92\x29\xc2\x84\x81\x95\
      \xf1\xdd\x88",
    b"BZh91AY&SY\x40\xc2\x7e\x6e\0\0\0\xc8\0\0\x10\x10\0\x20\0\x21\0\x82\xb1\x77\x24\x53\x85\x09\x04\x0c\x27\xe6\xe0",
];

/// Made by `python-snappy`, in the framing format: `id\n1\n`, and `2\n`.
const SNAPPY: [&[u8]; 2] =
    [b"\xff\x06\0\0sNaPpY\x01\x09\0\0\xb0\xa3\x58\x95id\n1\n", b"\xff\x06\0\0sNaPpY\x01\x06\0\0\xe8\xe5\x92\x9d2\n"];

fn bzip2(text: &str) -> Vec<u8> {
    let mut to = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    to.write_all(text.as_bytes()).unwrap();
    to.finish().unwrap()
}

fn snappy(text: &str) -> Vec<u8> {
    let mut to = snap::write::FrameEncoder::new(Vec::new());
    to.write_all(text.as_bytes()).unwrap();
    to.into_inner().unwrap()
}

#[tokio::test]
async fn compressed_texts_may_be_of_several_parts() {
    for (name, body) in [
        ("a.csv.gz", [gzip("id\n1\n"), gzip("2\n")].concat()),
        ("a.csv.zst", [zstd("id\n1\n"), zstd("2\n")].concat()),
        ("a.ndjson.gz", [gzip("{\"id\":1}\n"), gzip("{\"id\":2}\n")].concat()),
        ("a.csv.bz2", BZIP2.concat()),
        ("a.ndjson.bz2", [bzip2("{\"id\":1}\n"), bzip2("{\"id\":2}\n")].concat()),
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
    assert_eq!(fault("a.csv.bz2", "id\n1\n", "").await, "a.csv.bz2 is damaged or not bzip2: replace the file");
}

/// Snappy's framing format has no end, so a file that was cut between two chunks looks like a complete file with less
/// text.
#[tokio::test]
async fn snappy_is_read_in_its_framing_format() {
    let json = [snappy("{\"id\":1}\n"), snappy("{\"id\":2}\n")].concat();
    for (name, body) in [("a.csv.snappy", SNAPPY.concat()), ("a.CSV.sz", SNAPPY.concat()), ("a.json.snappy", json)] {
        assert_eq!(read_one(name, body, "").await.unwrap().rows, ["1", "2"], "{name}");
    }
    let (body, chunks) = (SNAPPY.concat(), [0, 10, 23, 33]);
    for length in 0..body.len() {
        let table = read_one("a.csv.snappy", &body[..length], ", columns = { id = \"bigint\" }").await;
        assert_eq!(table.is_ok(), chunks.contains(&length), "{length} bytes");
    }
    let hadoop = [&[0, 0, 0, 5, 0, 0, 0, 7][..], &snap::raw::Encoder::new().compress_vec(b"id\n1\n").unwrap()].concat();
    for other in [b"id\n1\n".to_vec(), snap::raw::Encoder::new().compress_vec(b"id\n1\n").unwrap(), hadoop] {
        assert_eq!(
            fault("a.csv.snappy", other, "").await,
            "a.csv.snappy is damaged or not in snappy's framing format (Hadoop's format and plain snappy can't be read): \
             replace the file"
        );
    }
}

/// 45 bytes of bzip2 can hold 45 MB, and any number of such streams may follow each other.
#[tokio::test]
async fn a_small_file_of_much_text_takes_no_memory() {
    let blanks = " ".repeat(8 << 20);
    for (name, part) in [("a.csv.bz2", bzip2(&blanks)), ("a.csv.snappy", snappy(&blanks)), ("a.csv.gz", gzip(&blanks))]
    {
        let long = part.repeat(5);
        for (name, what) in [(name.to_owned(), "record"), (name.replace("csv", "json"), "line")] {
            let fault = fault(&name, long.clone(), "").await;
            assert!(fault.starts_with(&format!("{name}: line 1: {what} longer than 16 MB")), "{fault}");
        }
    }
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
         .gz, .zst, .bz2 or .snappy) or .parquet, or set source.files.format"
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
        ("a.csv.bz2", bzip2(csv)),
        ("a.csv.snappy", snappy(csv)),
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

//! The formats of drops, and how unreadable drops are handled.

use std::{io::Write, sync::Arc};

use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray, cast::AsArray,
    types::Int32Type,
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::properties::{WriterProperties, WriterPropertiesBuilder},
};
use serde_json::Value;
use tests::{
    optouts::{Lake, Out, many},
    rig::Rig,
};
use turntable::{manifest::Manifest, publish::Outcome};

#[tokio::test]
async fn bad_records_are_set_aside_with_line_and_reason_and_good_ones_count() {
    let lake = Lake::default();
    lake.drop(
        "a.csv",
        "User_ID,state,occurred_at,note\n\
         1,opted_out,2026-01-01T00:00:00Z,x\n\
         x7,opted_out,2026-01-01T00:00:00Z,x\n\
         2,out,2026-01-01T00:00:00Z,x\n\
         3,opted_out,2026-01-01 00:00,x\n\
         4,opted_out,2099-01-01T00:00:00Z,x\n\
         ,opted_out,2026-01-01T00:00:00Z,x\n\
         5,opted_out\n\
         6,withdrawn,2026-01-01T00:00:00Z,\"two\nlines\"\n\
         9223372036854775808,withdrawn,2026-01-01T00:00:00Z,x\n",
    );
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.applied, done.rejected, done.drops), (2, 7, 1));
    let of = |line, reason: &str| (Some(line), reason.to_owned());
    let expected = vec![
        of(3, "user_id is not a whole number in the type's range"),
        of(4, "state is none of opted_out, withdrawn, opted_in"),
        of(5, "occurred_at is not an RFC 3339 timestamp"),
        of(6, "occurred_at is more than 5 minutes in the future"),
        of(7, "user_id is missing"),
        of(8, "field count is 2, expected 4 as in the header"),
        of(11, "user_id is not a whole number in the type's range"),
    ];
    assert_eq!(lake.rejected(), [("a.csv".to_owned(), expected)]);
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
}

/// A note with quotes that are not doubled, on line 3 of 21.
#[tokio::test]
async fn a_stray_quote_costs_only_its_own_line() {
    let lake = Lake::default();
    let line = |id: i64| {
        let note = if id == 2 { "\"he said \"stop\"\"" } else { "fine" };
        format!("{id},opted_out,2026-01-01T00:00:00Z,{note}\n")
    };
    let lines: String = (1..=20).map(line).collect();
    lake.drop("a.csv", format!("user_id,state,occurred_at,reason\n{lines}"));
    lake.drop(
        "b.csv",
        format!("user_id,state,occurred_at,reason\n21,opted_out,2026-01-01T00:00:00Z,\"x\n{}", line(22)),
    );
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.applied, done.rejected, done.drops), (20, 2, 2));
    let out: Vec<i64> = lake.table().into_iter().map(|(id, ..)| id).collect();
    assert_eq!(out, [1].into_iter().chain(3..=20).chain([22]).collect::<Vec<_>>());
    let stray = "text after a closing quote, expected a delimiter or line end".to_owned();
    let expected = [
        ("a.csv".to_owned(), vec![(Some(3), stray)]),
        ("b.csv".to_owned(), vec![(Some(2), "unclosed quote".to_owned())]),
    ];
    assert_eq!(lake.rejected(), expected);
}

#[tokio::test]
async fn an_unreadable_drop_is_rejected_whole_and_consumed() {
    let lake = Lake::default();
    for (name, text) in [
        ("a.csv", "user,state,occurred_at\n1,opted_out,2026-01-01T00:00:00Z\n"),
        ("b.csv", "user_id,state,state,occurred_at\n"),
        ("c.csv", ""),
        ("d.csv.gz", "no gzip"),
        ("e.parquet", "no Parquet"),
        ("f.txt", "user_id,state,occurred_at\n"),
        ("g.csv.bz2", "no bzip2"),
        ("h.csv.snappy", "no snappy"),
    ] {
        lake.drop(name, text);
    }
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.drops, done.rejected, done.rows), (Outcome::Committed, 8, 8, 0));
    let rejected = lake.rejected();
    let reason = |name: &str| {
        let (_, records) = rejected.iter().find(|(drop, _)| drop == name).unwrap();
        assert_eq!((records.len(), records[0].0), (1, None));
        records[0].1.clone()
    };
    let at = "s3://lake/inbox/optouts";
    let expected = "expected user_id, state, occurred_at";
    assert_eq!(reason("a.csv"), format!("{at}/a.csv: the header is missing user_id: {expected}"));
    assert_eq!(reason("b.csv"), format!("{at}/b.csv: the header has state twice: {expected} once each"));
    assert_eq!(reason("c.csv"), format!("{at}/c.csv: the header is missing user_id, state, occurred_at: {expected}"));
    assert!(reason("d.csv.gz").starts_with(&format!("{at}/d.csv.gz is damaged or not gzip")));
    assert!(reason("e.parquet").starts_with(&format!("{at}/e.parquet is damaged or not Parquet")));
    assert!(reason("g.csv.bz2").starts_with(&format!("{at}/g.csv.bz2 is damaged or not bzip2")));
    assert!(
        reason("h.csv.snappy").starts_with(&format!("{at}/h.csv.snappy is damaged or not in snappy's framing format"))
    );
    assert!(reason("f.txt").starts_with(&format!("{at}/f.txt: unknown file extension")));
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
}

#[tokio::test]
async fn every_format_gives_the_same_records() {
    let csv = "user_id,state,occurred_at\n1,opted_out,2026-01-01T00:00:00Z\n";
    let json = "{\"occurred_at\":\"2026-01-01T00:00:00Z\",\"USER_ID\":\"2\",\"state\":\"withdrawn\",\"by\":{\"x\":1}}\n\n{\"user_id\":[3]}\n{\n";
    let lake = Lake::default();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(csv.as_bytes()).unwrap();
    lake.drop("deep/er/a.csv.gz", gz.finish().unwrap());
    lake.drop("b.jsonl.zst", zstd::encode_all(json.as_bytes(), 1).unwrap());
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(csv.replace("\n1,", "\n11,").as_bytes()).unwrap();
    lake.drop("d.csv.bz2", bz2.finish().unwrap());
    let mut snappy = snap::write::FrameEncoder::new(Vec::new());
    snappy.write_all(csv.replace("\n1,", "\n12,").as_bytes()).unwrap();
    lake.drop("e.csv.snappy", snappy.into_inner().unwrap());
    let time = TimestampMillisecondArray::from(vec![Some(1_767_225_600_000), None]).with_timezone("Asia/Tokyo");
    let batch = RecordBatch::try_from_iter([
        ("State", Arc::new(StringArray::from(vec!["opted_in", "opted_in"])) as _),
        ("user_id", Arc::new(Int32Array::from(vec![3, 4])) as _),
        ("occurred_at", Arc::new(time) as _),
    ])
    .unwrap();
    let mut parquet = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    lake.drop("c.parquet", parquet);
    // Objects that aren't drops are left alone.
    for name in ["_archive/x.csv", ".hidden", "folder/", "_rejected.json"] {
        lake.drop(name, "x");
    }
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.drops, done.rejected), (5, 3));
    let at = 1_767_225_600;
    let out = [11, 12].map(|id| (id, Out::OptedOut, at));
    let expected = [[(1, Out::OptedOut, at), (2, Out::Withdrawn, at), (3, Out::OptedIn, at)].as_slice(), &out].concat();
    assert_eq!(lake.table(), expected);
    let rejected = lake.rejected();
    let of = |line, reason: &str| (Some(line), reason.to_owned());
    assert_eq!(rejected[0].1, [of(3, "user_id is not a single value"), of(4, "invalid JSON at byte 1")]);
    assert_eq!(rejected[1].1, [of(2, "occurred_at is missing or not an RFC 3339 timestamp")]);
}

/// Replaces datasets.toml: the key column, its type and more options of the inbox.
fn configure(lake: &Lake, key: &str, of: &str, more: &str) {
    lake.objects.put(
        "s3://lake/datasets.toml",
        format!(
            "[datasets.optouts]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\nschema = \"additive\"\n\
             source = {{ inbox = {{ location = \"s3://lake/inbox/optouts\", key = [\"{key}\"], \
             columns = {{ {key} = \"{of}\" }}{more} }} }}\n"
        ),
    );
}

/// Returns every row of the live table, whose key is a string: key and state.
fn people(lake: &Lake) -> Vec<(String, Out)> {
    let live = lake.live().unwrap();
    let at = lake.paths().manifest(&live);
    let manifest = Manifest::from_json(&at, &live, &lake.get(&at.to_string()).unwrap()).unwrap();
    let mut people = Vec::new();
    for file in &manifest.files {
        let bytes = lake.get(&manifest.location.key(&file.key).to_string()).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let (keys, states) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            let row = |row| (keys.value(row).to_owned(), states.value(row).parse().unwrap());
            people.extend((0..batch.num_rows()).map(row));
        }
    }
    people.sort();
    people
}

#[tokio::test]
async fn keys_are_normalized_in_every_format() {
    const AT: &str = "2026-01-01T00:00:00Z";
    let lake = Lake::default();
    configure(&lake, "email", "string", ", normalize = [\"lower\", \"nfkc\", \"trim\"], buckets = 4");
    lake.drop("a.csv", format!("email,state,occurred_at\n Ａ@x.jp ,opted_out,{AT}\n\u{3000},opted_out,{AT}\n"));
    lake.drop("b.ndjson", format!("{{\"email\":\"B@X.JP\\t\",\"state\":\"opted_out\",\"occurred_at\":\"{AT}\"}}\n"));
    let batch = RecordBatch::try_from_iter([
        ("email", Arc::new(StringArray::from(vec!["C@x.jp", "a@X.jp", "  "])) as _),
        ("state", Arc::new(StringArray::from(vec!["opted_out", "opted_in", "opted_out"])) as _),
        ("occurred_at", Arc::new(StringArray::from(vec![AT, "2026-01-02T00:00:00Z", AT])) as _),
    ])
    .unwrap();
    let mut parquet = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    lake.drop("c.parquet", parquet);
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.drops, done.applied, done.rejected), (3, 3, 2));
    let expected = [("a@x.jp", Out::OptedIn), ("b@x.jp", Out::OptedOut), ("c@x.jp", Out::OptedOut)];
    assert_eq!(people(&lake), expected.map(|(key, state)| (key.to_owned(), state)));
    let missing = |line| vec![(Some(line), "email is missing".to_owned())];
    assert_eq!(lake.rejected(), [("a.csv".to_owned(), missing(3)), ("c.parquet".to_owned(), missing(3))]);
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);

    let lake = Lake::default();
    configure(&lake, "id", "string", ", normalize = [\"uuid\"]");
    let uuid = "0123e567-e89b-12d3-a456-42661417abcd";
    let (urn, plain) = (format!("urn:uuid:{}", uuid.to_uppercase()), uuid.replace('-', ""));
    lake.drop(
        "a.csv",
        format!("id,state,occurred_at\n{urn},opted_out,{AT}\n{plain},withdrawn,{AT}\n7,withdrawn,{AT}\n"),
    );
    lake.refresh().await.unwrap();
    assert_eq!(people(&lake), [(uuid.to_owned(), Out::Withdrawn)]);
    assert_eq!(lake.rejected()[0].1, [(Some(4), "id is not a UUID".to_owned())]);
}

#[tokio::test]
async fn normalization_that_is_added_later_joins_the_rows_of_one_person() {
    let lake = Lake::default();
    configure(&lake, "id", "string", ", buckets = 16");
    let row =
        |id: &str, state: &str, day: u32| format!("id,state,occurred_at\n{id},{state},2026-01-{day:02}T00:00:00Z\n");
    lake.drop("a.csv", row("ABC", "opted_out", 1));
    lake.drop("b.csv", row("def", "opted_out", 1));
    lake.refresh().await.unwrap();
    configure(&lake, "id", "string", ", buckets = 16, normalize = [\"lower\"]");
    lake.drop("c.csv", row("abc", "opted_in", 2));
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.drops, done.rows), (Outcome::Committed, 1, 2));
    let expected = [("abc".to_owned(), Out::OptedIn), ("def".to_owned(), Out::OptedOut)];
    assert_eq!(people(&lake), expected);
    assert_eq!(lake.consumed(), ["a.csv", "b.csv", "c.csv"]);
    // From now on, the buckets are merged in place again.
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
    let copies = lake.copies();
    lake.drop("d.csv", row("DEF", "withdrawn", 2));
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.drops, done.applied, done.rows), (1, 1, 2));
    assert_eq!(people(&lake)[1], ("def".to_owned(), Out::Withdrawn));
    assert!(lake.copies() > copies);

    // A change takes effect without a drop too.
    configure(&lake, "id", "string", ", buckets = 16, normalize = [\"lower\", \"trim\"]");
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::Committed);
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
    assert_eq!(lake.consumed().len(), 4);

    // Rows that the new normalization rejects would be lost, so nothing changes.
    configure(&lake, "id", "string", ", buckets = 16, normalize = [\"uuid\"]");
    let live = lake.live();
    let refused = lake.refresh().await.unwrap_err();
    assert!(refused.message().contains("records are not valid opt-outs"), "{refused:?}");
    assert_eq!(lake.live(), live);
}

#[tokio::test]
async fn a_wider_key_type_rewrites_all_buckets() {
    let lake = Lake::default();
    configure(&lake, "user_id", "int", ", buckets = 4");
    lake.drop("a.csv", many(0..100));
    lake.refresh().await.unwrap();
    configure(&lake, "user_id", "bigint", ", buckets = 4");
    let copies = lake.copies();
    lake.drop("b.csv", "user_id,state,occurred_at\n7,opted_in,2026-02-01T00:00:00Z\n");
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.drops, done.rows), (Outcome::Committed, 1, 100));
    assert_eq!(lake.copies(), copies);
    let table = lake.table();
    assert_eq!(table.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    let back: Vec<i64> = table.iter().filter(|(_, state, _)| *state == Out::OptedIn).map(|(id, ..)| *id).collect();
    assert_eq!(back, [7]);
    assert_eq!(lake.consumed(), ["a.csv", "b.csv"]);
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
}

#[tokio::test]
async fn a_drop_overwritten_with_new_content_is_a_new_drop() {
    let lake = Lake::default();
    lake.drop("a.csv", "user_id,state,occurred_at\n1,opted_out,2026-01-01T00:00:00Z\n");
    lake.refresh().await.unwrap();
    lake.drop("a.csv", "user_id,state,occurred_at\n2,opted_out,2026-01-01T00:00:00Z\n");
    assert_eq!(lake.refresh().await.unwrap().drops, 1);
    assert_eq!(lake.table().len(), 2);
}

#[tokio::test]
async fn a_burst_is_folded_and_all_of_it_is_in() {
    let lake = Lake::default();
    lake.refresh().await.unwrap();
    for number in 0..500 {
        lake.drop(
            &format!("{number}.csv"),
            format!("user_id,state,occurred_at\n{number},opted_out,2026-01-01T00:00:00Z\n"),
        );
    }
    let event: Value = serde_json::from_str(include_str!("../../../../events/optout-sqs.json")).unwrap();
    for _ in 0..10 {
        let (one, two) = tokio::join!(lake.handle(lake.wire(), event.clone()), lake.handle(lake.wire(), event.clone()));
        assert!(one.is_ok() && two.is_ok());
    }
    assert_eq!(lake.table().len(), 500);
    assert!(lake.manifests().len() <= 4, "{} generations", lake.manifests().len());
}

#[tokio::test]
async fn a_message_that_is_no_event_fails_alone() {
    let lake = Lake::default();
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/optout-sqs.json")).unwrap();
    let mut bad = event["Records"][0].clone();
    (bad["messageId"], bad["body"]) = ("bad".into(), "{".into());
    event["Records"].as_array_mut().unwrap().push(bad);
    let answer = serde_json::to_value(lake.handle(lake.wire(), event).await.unwrap()).unwrap();
    assert_eq!(answer, serde_json::json!({ "batchItemFailures": [{ "itemIdentifier": "bad" }] }));
    assert_eq!(lake.manifests().len(), 1);
}

/// Returns an uncompressed Parquet drop with one record for each id, a second apart: about 26 bytes a row.
fn parquet(ids: std::ops::Range<i64>, at: i64) -> Vec<u8> {
    let state = StringArray::from_iter_values(ids.clone().map(|_| "withdrawn"));
    parquet_of(ids, at, Arc::new(state), WriterProperties::builder())
}

fn parquet_of(ids: std::ops::Range<i64>, at: i64, state: ArrayRef, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let times = ids.clone().map(|id| (at + id) * 1000);
    let notes = ids.clone().map(|id| format!("{id}"));
    let batch = RecordBatch::try_from_iter([
        ("user_id", Arc::new(arrow_array::Int64Array::from_iter_values(ids)) as _),
        ("note", Arc::new(StringArray::from_iter_values(notes)) as _),
        ("state", state),
        ("occurred_at", Arc::new(TimestampMillisecondArray::from_iter_values(times)) as _),
    ])
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// Small drops that would expand to gigabytes, or to more than a refresh has room for, don't hold up the good drop
/// beside them.
#[tokio::test]
async fn parquet_that_expands_beyond_memory_is_rejected() {
    let lake = Lake::default();
    lake.drop("good.parquet", parquet(0..3, 1_767_225_600));
    let packed = || WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    let long = "x".repeat(300 << 10);
    // The same string, ten thousand times.
    let said = DictionaryArray::<Int32Type>::from_iter(vec![long.as_str(); 10_000]);
    lake.drop("text.parquet", parquet_of(0..10_000, 0, Arc::new(said), packed()));
    let page = packed().set_dictionary_enabled(false).set_data_page_size_limit(1 << 30);
    let said = StringArray::from_iter_values(vec![long.as_str(); 256]);
    lake.drop("page.parquet", parquet_of(0..256, 0, Arc::new(said), page));
    let groups = packed().set_max_row_group_row_count(Some(1));
    let said = StringArray::from_iter_values(vec!["withdrawn"; 5_000]);
    lake.drop("footer.parquet", parquet_of(0..5_000, 0, Arc::new(said), groups));
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.applied, done.drops), (3, 4));
    let rejected = lake.rejected();
    let reason = |of: &str| &rejected.iter().find(|(name, _)| name == of).unwrap().1[0];
    assert_eq!(*reason("text.parquet"), (Some(1), "state is none of opted_out, withdrawn, opted_in".into()));
    assert!(reason("page.parquet").1.ends_with("page larger than 64 MB: write smaller pages"), "{rejected:?}");
    assert!(reason("footer.parquet").1.contains("footer larger than 2 MB"), "{rejected:?}");
}

/// The parquet crate reads nothing from a file whose footer says zero rows, and reports no error.
#[tokio::test]
async fn parquet_whose_footer_says_zero_rows_is_rejected_whole() {
    let lake = Lake::default();
    let mut file = parquet(0..60, 1_767_225_600);
    // Thrift's compact protocol: num_rows is an i64, 60 in zigzag; the next field is a list with one struct.
    let at = file.windows(4).position(|bytes| *bytes == [0x16, 0x78, 0x19, 0x1C]).unwrap();
    file[at + 1] = 0;
    lake.drop("a.parquet", file);
    lake.drop("b.parquet", parquet(0..3, 1_767_225_600));
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.applied, done.rejected, done.drops), (3, 1, 2));
    let reason = "s3://lake/inbox/optouts/a.parquet contradicts itself: its footer says 0 rows, its row groups 60: write \
                  the file again";
    assert_eq!(lake.rejected(), [("a.parquet".to_owned(), vec![(None, reason.to_owned())])]);
}

#[tokio::test]
async fn a_burst_beyond_memory_gives_the_same_table() {
    const PEOPLE: i64 = 300_000;
    let lake = Lake::with("buckets = 128");
    lake.drop("a.csv", many(0..PEOPLE));
    let large = parquet(PEOPLE / 2..PEOPLE + 150_000, 1_767_225_600);
    assert!(large.len() > 4 << 20, "{} bytes are read at once", large.len());
    lake.drop("b.parquet", large.clone());
    // A drop that is damaged after some 200,000 good records is rejected as a whole.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(many(1_000_000..1_300_000).as_bytes()).unwrap();
    let mut damaged = gz.finish().unwrap();
    let at = damaged.len() * 2 / 3;
    damaged[at..at + 64].fill(0xAA);
    lake.drop("c.csv.gz", damaged);
    let mut torn = large;
    torn[4..200].fill(0xFF);
    lake.drop("d.parquet", torn);
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.drops, done.rejected), (Outcome::Committed, 4, 2));
    let (table, rejected) = (lake.table(), lake.rejected());
    assert_eq!(rejected.iter().map(|(drop, _)| drop.as_str()).collect::<Vec<_>>(), ["c.csv.gz", "d.parquet"]);
    assert_eq!(table.len() as i64, PEOPLE + 150_000);
    for (at, (id, state, second)) in table.into_iter().enumerate() {
        let later = id >= PEOPLE / 2;
        let expected = if later { (Out::Withdrawn, 1_767_225_600 + id) } else { (Out::OptedOut, 1_767_225_600) };
        assert_eq!((id, (state, second)), (at as i64, expected));
    }
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
}

#[tokio::test]
async fn drop_that_is_named_like_a_manifest_does_not_fail_flip() {
    let rig = Rig::inbox("");
    let mut event = rig.event(&"blue-01JD4QXZ3V5T8K2M9N6P7R8S9T".parse().unwrap());
    event["detail"]["object"]["key"] = "inbox/optouts/x/_manifests/blue-01JD4QXZ3V5T8K2M9N6P7R8S9T.json".into();
    let answer = flip::handle(rig.env(), event).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Status);
    assert_eq!(answer.reasons, ["the object is a drop in this dataset's inbox, not a manifest"]);
}

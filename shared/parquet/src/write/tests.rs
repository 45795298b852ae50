mod partitions;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow_array::{
    Array, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray, cast::AsArray,
    types::Int64Type,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    file::{
        metadata::ParquetMetaData,
        reader::{FileReader, SerializedFileReader},
    },
};
use turntable_core::{
    bucket_settings::BucketSettings,
    error::Kind,
    layout::Key,
    port::{self, Chunks, Entry, Put, Upload},
};

use super::*;
use crate::{
    arrow_types::ELEMENT,
    footer::{columns_of, read_footer},
};

/// An in-memory S3. Uploads to keys that end with `refuse` fail.
#[derive(Default)]
struct Memory {
    objects: Mutex<BTreeMap<String, Bytes>>,
    begun: AtomicUsize,
    aborted: AtomicUsize,
    ranges: Mutex<Vec<Range<u64>>>,
    refuse: Option<&'static str>,
}

struct Writing {
    memory: Arc<Memory>,
    key: String,
    content: Vec<u8>,
}

#[async_trait]
impl Upload for Writing {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if self.memory.refuse.is_some_and(|name| self.key.ends_with(name)) {
            return Err(Error::unavailable("refused"));
        }
        self.content.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        let this = *self;
        this.memory.objects.lock().unwrap().insert(this.key, this.content.into());
        Ok("etag".into())
    }

    async fn abort(self: Box<Self>) {
        self.memory.aborted.fetch_add(1, Ordering::Relaxed);
    }
}

struct Store(Arc<Memory>);

#[async_trait]
impl Objects for Store {
    async fn get(&self, _: &Key) -> Result<Option<Bytes>> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn get_with_etag(&self, _: &Key) -> Result<Option<(Bytes, String)>> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn range(&self, at: &Key, _: &str, range: Range<u64>) -> Result<Bytes> {
        self.0.ranges.lock().unwrap().push(range.clone());
        let objects = self.0.objects.lock().unwrap();
        let object = objects.get(&at.key).ok_or_else(|| port::missing(at))?;
        Ok(object.slice(range.start as usize..range.end as usize))
    }

    async fn stream(&self, _: &Key, _: &str) -> Result<Chunks> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn head(&self, _: &Key) -> Result<Option<Entry>> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn list(&self, _: &Location, _: Option<&Key>) -> Result<Vec<Entry>> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn folders(&self, _: &Location) -> Result<Vec<Location>> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn bucket_settings(&self, _: &str) -> Result<BucketSettings> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn put_new(&self, _: &Key, _: Bytes) -> Result<Put> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn put(&self, _: &Key, _: Bytes) -> Result<()> {
        unreachable!("the writer overwrites nothing")
    }

    async fn replace(&self, _: &Key, _: &str, _: Bytes) -> Result<bool> {
        unreachable!("the writer overwrites nothing")
    }

    async fn copy(&self, _: &Key, _: &str, _: &Key) -> Result<String> {
        unreachable!("the writer copies nothing")
    }

    async fn delete(&self, _: &[Key]) -> Result<()> {
        unreachable!("the writer deletes nothing")
    }

    async fn delete_if(&self, _: &Key, _: &str) -> Result<bool> {
        unreachable!("the writer deletes nothing")
    }

    async fn uploads(&self, _: &Location) -> Result<Vec<port::Unfinished>> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn abort_upload(&self, _: &port::Unfinished) -> Result<()> {
        unreachable!("neither the writer nor the footer reader calls this")
    }

    async fn upload(&self, at: &Key) -> Result<Box<dyn Upload>> {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Writing { memory: self.0.clone(), key: at.key.clone(), content: Vec::new() }))
    }
}

fn schema() -> SchemaRef {
    let item = Field::new("item", DataType::Int64, true);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("名前", DataType::Utf8, true),
        Field::new("tags", DataType::List(Arc::new(item)), true),
        Field::new("seen", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
}

fn batch(ids: Range<i64>) -> RecordBatch {
    let names: StringArray =
        ids.clone().map(|n| (n % 7 != 0).then(|| format!("利用者{}", n * 7919 % 10_007))).collect();
    let tags = ids.clone().map(|n| (n % 3 != 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(names),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(tags)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(ids).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn batches(ids: Range<i64>) -> Vec<Result<RecordBatch>> {
    let step = 1_000;
    ids.clone().step_by(step).map(|n| Ok(batch(n..(n + step as i64).min(ids.end)))).collect()
}

/// Returns a stream that panics if it is polled after its end, as the PostgreSQL source's stream does.
fn stream_of(batches: Vec<Result<RecordBatch>>) -> Batches {
    stream::unfold(batches.into_iter(), |mut rest| async move { rest.next().map(|batch| (batch, rest)) }).boxed()
}

fn rows_of(streams: Vec<Vec<Result<RecordBatch>>>) -> Rows {
    Rows { copies: Vec::new(), schema: schema(), streams: streams.into_iter().map(stream_of).collect() }
}

async fn run(memory: &Arc<Memory>, source: Rows, row_group_size: u64, file_size: u64) -> Result<Vec<File>> {
    let store: Arc<dyn Objects> = Arc::new(Store(memory.clone()));
    write(
        &store,
        &"s3://b/t/g".parse().unwrap(),
        source,
        config::Parquet { row_group_size, file_size, ..Default::default() },
    )
    .await
}

fn rows(memory: &Memory, file: &File) -> (ParquetMetaData, Vec<RecordBatch>) {
    let object = memory.objects.lock().unwrap()[&format!("t/g/{}", file.key)].clone();
    assert_eq!(object.len() as u64, file.bytes);
    let reader = ParquetRecordBatchReaderBuilder::try_new(object).unwrap();
    (reader.metadata().as_ref().clone(), reader.build().unwrap().map(|batch| batch.unwrap()).collect())
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
    batches.iter().flat_map(column).collect()
}

#[tokio::test]
async fn stream_rolls_over_to_new_files_in_row_order() {
    let memory = Arc::new(Memory::default());
    let files = run(&memory, rows_of(vec![batches(0..200_500)]), 200_000, 400_000).await.unwrap();
    assert!(files.len() > 2, "{files:?}");
    let mut all = Vec::new();
    for (n, file) in files.iter().enumerate() {
        assert_eq!(file.key, turntable_core::layout::part(n));
        let (footer, read) = rows(&memory, file);
        assert_eq!(footer.file_metadata().num_rows() as u64, file.rows);
        if n + 1 < files.len() {
            assert!((300_000..500_000).contains(&file.bytes), "{files:?}");
            assert!(footer.num_row_groups() >= 2);
        }
        all.extend(read);
    }
    assert_eq!(ids(&all), (0..200_500).collect::<Vec<_>>());
    let last = &all.last().unwrap();
    let expected = batch(200_500 - last.num_rows() as i64..200_500);
    assert_eq!(last.column(1), expected.column(1));
    assert_eq!(last.column(3), expected.column(3));
    assert_eq!(last.column(2).to_data().child_data(), expected.column(2).to_data().child_data());
    assert_eq!(memory.aborted.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stream_writes_its_own_files() {
    let memory = Arc::new(Memory::default());
    let streams = vec![batches(0..30_000), vec![], batches(30_000..30_010), batches(30_010..90_000)];
    let files = run(&memory, rows_of(streams), 1 << 20, 2 << 20).await.unwrap();
    assert_eq!(files.len(), 3);
    let mut all: Vec<i64> = files.iter().flat_map(|file| ids(&rows(&memory, file).1)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..90_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn files_have_the_format_that_athena_and_the_audit_need() {
    let memory = Arc::new(Memory::default());
    let files = run(&memory, rows_of(vec![batches(0..10)]), 1 << 20, 2 << 20).await.unwrap();
    let (footer, _) = rows(&memory, &files[0]);
    let file = footer.file_metadata();
    // No Arrow schema.
    let pairs = file.key_value_metadata().unwrap().iter().map(|pair| (pair.key.as_str(), pair.value.as_deref()));
    let pairs: Vec<_> = pairs.collect();
    assert_eq!((file.version(), pairs), (1, vec![("turntable.nulls", Some("{\"tags\":4}"))]));
    assert_eq!(crate::nested_nulls(&footer, "tags"), Some(4));
    assert_eq!(file.created_by(), Some(concat!("turntable version ", env!("CARGO_PKG_VERSION"))));
    let printed = |n: usize| {
        let column = file.schema_descr().column(n);
        format!("{} {} {:?}", column.path().string(), column.physical_type(), column.logical_type_ref())
    };
    assert_eq!(printed(2), format!("tags.list.{ELEMENT} INT64 None"));
    assert!(printed(3).starts_with("seen INT64 Some(Timestamp"), "{}", printed(3));
    let group = footer.row_group(0);
    for column in group.columns() {
        assert!(column.compression_codec().to_string().starts_with("ZSTD"));
        let statistics = column.statistics().unwrap();
        assert!(statistics.null_count_opt().is_some() && statistics.min_bytes_opt().is_some());
    }
    let types: Vec<_> =
        columns_of(&"s3://b/k".parse().unwrap(), &footer).unwrap().into_iter().map(|column| column.glue_type).collect();
    assert_eq!(types, ["bigint", "string", "array<bigint>", "timestamp"]);
}

#[tokio::test]
async fn higher_compression_level_makes_smaller_files_with_the_same_rows() {
    let mut bytes = Vec::new();
    for compression_level in [1, 19] {
        let memory = Arc::new(Memory::default());
        let store: Arc<dyn Objects> = Arc::new(Store(memory.clone()));
        let sizes = config::Parquet { compression_level, ..Default::default() };
        let source = rows_of(vec![batches(0..10)]);
        let files = write(&store, &"s3://b/t/g".parse().unwrap(), source, sizes).await.unwrap();
        let (_, read) = rows(&memory, &files[0]);
        bytes.push((files[0].bytes, ids(&read)));
    }
    assert!(bytes[1].0 < bytes[0].0, "{} and {} bytes", bytes[0].0, bytes[1].0);
    assert_eq!(bytes[0].1, bytes[1].1);
}

#[tokio::test]
async fn outgrown_dictionary_is_disabled_in_later_row_groups() {
    let (wide, few) = (Field::new("unique", DataType::Utf8, true), Field::new("few", DataType::Utf8, true));
    let schema = Arc::new(Schema::new(vec![wide, few]));
    // Strings that don't compress.
    let text = |n: i64| format!("{:032x}", (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let batch = |first: i64| {
        let unique: StringArray = (first..first + 10_000).map(|n| Some(text(n))).collect();
        let few: StringArray = (first..first + 10_000).map(|n| Some(text(n % 3))).collect();
        Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(unique), Arc::new(few)]).unwrap())
    };
    let source = Rows { schema: schema.clone(), ..rows_of(vec![(0..40).map(|n| batch(n * 10_000)).collect()]) };
    let memory = Arc::new(Memory::default());
    let file = run(&memory, source, 2 << 20, 1 << 30).await.unwrap().remove(0);
    let (footer, read) = rows(&memory, &file);
    let has_dictionary = |column: usize| {
        let groups = footer.row_groups().iter();
        groups.map(|group| group.column(column).dictionary_page_offset().is_some()).collect::<Vec<_>>()
    };
    let mut first_only = vec![false; footer.num_row_groups()];
    first_only[0] = true;
    assert!(first_only.len() > 2);
    assert_eq!(has_dictionary(0), first_only);
    assert!(has_dictionary(1).into_iter().all(|has| has));
    // A page of dictionary indexes is closed at a number of rows, and a page of plain values at a size.
    let object = memory.objects.lock().unwrap()[&format!("t/g/{}", file.key)].clone();
    let reader = SerializedFileReader::new(object).unwrap();
    let group = reader.get_row_group(1).unwrap();
    let pages = |column| group.get_column_page_reader(column).unwrap().map(|page| page.unwrap().buffer().len());
    let rows = footer.row_group(1).num_rows() as usize;
    assert_eq!(pages(1).count(), 1 + rows.div_ceil((2 << 20) / 2 / 2 / 8));
    let mut plain: Vec<usize> = pages(0).collect();
    assert!(plain.len() > 2 && plain.iter().all(|bytes| *bytes < 256 << 10), "{plain:?}");
    plain.pop();
    assert!(plain.iter().all(|bytes| *bytes >= 120 << 10), "{plain:?}");
    let texts = read.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>());
    assert!(texts.eq((0..400_000).map(text)));
}

#[tokio::test]
async fn source_without_rows_gives_one_file_with_the_schema() {
    for streams in [vec![], vec![vec![]], vec![vec![], vec![Ok(batch(0..0))]]] {
        let memory = Arc::new(Memory::default());
        let files = run(&memory, rows_of(streams), 128 << 20, 256 << 20).await.unwrap();
        assert_eq!((files.len(), files[0].rows, files[0].key.as_str()), (1, 0, "part-00000.parquet"));
        let (footer, read) = rows(&memory, &files[0]);
        assert_eq!((footer.num_row_groups(), read.len()), (0, 0));
        assert_eq!(
            columns_of(&"s3://b/k".parse().unwrap(), &footer).unwrap(),
            crate::arrow_types::columns(&schema()).unwrap()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_stream_leaves_no_upload_unfinished() {
    let memory = Arc::new(Memory::default());
    let mut failing = batches(0..100_000);
    failing.push(Err(Error::unavailable("the database has gone")));
    let mut source = rows_of(vec![failing, batches(0..3_000)]);
    // A third stream never ends.
    let endless = stream::iter(batches(0..50_000)).chain(stream::pending());
    source.streams.push(endless.boxed());
    let error = run(&memory, source, 100_000, 100_000_000).await.unwrap_err();
    assert_eq!(error.report(), "the database has gone");
    let (begun, aborted) = (memory.begun.load(Ordering::Relaxed), memory.aborted.load(Ordering::Relaxed));
    assert!(aborted >= 2, "{aborted}");
    assert_eq!(begun, aborted + memory.objects.lock().unwrap().len());
}

#[tokio::test]
async fn stopped_write_leaves_no_upload_unfinished_and_reports_progress() {
    let memory = Arc::new(Memory::default());
    let endless = || {
        let batches = stream::iter(batches(0..20_000)).chain(stream::pending());
        batches.boxed()
    };
    let mut source = rows_of(vec![]);
    source.streams = vec![endless(), endless()];
    let store: Arc<dyn Objects> = Arc::new(Store(memory.clone()));
    let location = "s3://lake/t/green-01JD675EJRSSKNZWWST95906C6/".parse().unwrap();
    let sizes = config::Parquet { row_group_size: 20_000, file_size: 1 << 30, ..Default::default() };
    let stop = tokio::time::sleep(std::time::Duration::from_millis(500));
    let Written::Stopped(progress) = write_until(stop, &store, &location, source, sizes).await.unwrap() else {
        panic!("endless streams ended")
    };
    assert!(progress.rows > 0 && progress.rows <= 40_000 && progress.bytes > 0, "{progress:?}");
    assert_eq!(progress.files, 2);
    assert_eq!((memory.begun.load(Ordering::Relaxed), memory.aborted.load(Ordering::Relaxed)), (2, 2));
    assert!(memory.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn failing_upload_is_aborted_and_reported() {
    let memory = Arc::new(Memory { refuse: Some("part-00001.parquet"), ..Memory::default() });
    let error = run(&memory, rows_of(vec![batches(0..200_000)]), 200_000, 400_000).await.unwrap_err();
    assert_eq!((error.kind(), error.report()), (Kind::Unavailable, "refused".into()));
    assert_eq!(memory.aborted.load(Ordering::Relaxed), 1);
    assert_eq!(memory.objects.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn rows_of_another_schema_are_an_error() {
    let other = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
    let wrong = RecordBatch::try_new(other, vec![Arc::new(StringArray::from(vec!["1"]))]).unwrap();
    let memory = Arc::new(Memory::default());
    let error = run(&memory, rows_of(vec![vec![Ok(batch(0..10)), Ok(wrong)]]), 100, 100).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(memory.objects.lock().unwrap().len(), 0);
    assert_eq!(memory.begun.load(Ordering::Relaxed), memory.aborted.load(Ordering::Relaxed));
}

#[tokio::test]
async fn footer_takes_one_request_or_two() {
    let fields: Vec<_> = (0..800).map(|n| Field::new(format!("column_{n}"), DataType::Int64, true)).collect();
    let wide = Arc::new(Schema::new(fields));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
    let batch = RecordBatch::try_new(wide.clone(), vec![values; 800]).unwrap();
    for (source, requests) in
        [(rows_of(vec![batches(0..100_000)]), 1), (Rows { schema: wide, ..rows_of(vec![vec![Ok(batch)]]) }, 2)]
    {
        let memory = Arc::new(Memory::default());
        let file = run(&memory, source, 128 << 20, 256 << 20).await.unwrap().remove(0);
        let at: Key = "s3://b/t/g/part-00000.parquet".parse().unwrap();
        let footer = read_footer(&Store(memory.clone()), &at, &file.etag, file.bytes).await.unwrap();
        assert_eq!(footer.file_metadata().num_rows() as u64, file.rows);
        assert_eq!(memory.ranges.lock().unwrap().len(), requests);
    }
}

#[tokio::test]
async fn invalid_footer_is_an_error() {
    let at: Key = "s3://b/f".parse().unwrap();
    for (content, expected) in [
        (&b"PAR1"[..], "s3://b/f is not a Parquet file, because it has only 4 bytes: run the export or refresh again"),
        (b"id,name\n1,a\n2,b\n", "s3://b/f is not a Parquet file: run the export or refresh again"),
        (
            b"PAR1\xff\xff\xff\x7fPAR1",
            "s3://b/f: its Parquet footer has an invalid length, 2147483647 bytes in a file of 12 bytes: run the export or refresh again",
        ),
        (
            b"PAR1\x01\x00\x00\x00PAR1",
            "s3://b/f: its Parquet footer has an invalid length, 1 bytes in a file of 12 bytes: run the export or refresh again",
        ),
        (b"PAR1\x00\x00\x00\x00PAR1", "s3://b/f: its Parquet footer is damaged: run the export or refresh again"),
        (b"PAR1xxxx\x04\x00\x00\x00PAR1", "s3://b/f: its Parquet footer is damaged: run the export or refresh again"),
        (
            b"PAR1xxxx\x04\x00\x00\x00PARE",
            "s3://b/f: its Parquet footer is encrypted, which Athena can't read: write it unencrypted",
        ),
    ] {
        let memory = Arc::new(Memory::default());
        memory.objects.lock().unwrap().insert("f".into(), Bytes::from_static(content));
        let error = read_footer(&Store(memory), &at, "etag", content.len() as u64).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Corrupt, expected));
    }
}

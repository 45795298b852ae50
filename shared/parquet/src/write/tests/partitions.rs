//! Tests for partitioned writes, with rows in any order.

use std::collections::BTreeSet;

use arrow_array::{Date32Array, Int32Array};

use super::*;
use crate::partitioned::{self, PartitionedOutcome, Written};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("dt", DataType::Date32, true),
        Field::new("id", DataType::Int64, false),
        Field::new("pref", DataType::Utf8, true),
        Field::new("n", DataType::Int32, true),
        Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Int64, true))), true),
    ]))
}

const PREFS: [&str; 3] = ["東京", "New York", "~"];

/// Returns rows in which row `id` has day `id % 7`, prefecture `id % 3` and number `id % 1000`.
fn batch(ids: Range<i64>) -> RecordBatch {
    let tags = ids.clone().map(|n| (n % 3 != 0).then(|| (0..n % 4).map(Some).collect::<Vec<_>>()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_iter_values(ids.clone().map(|id| 19_000 + (id % 7) as i32 * 2))),
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(StringArray::from_iter_values(ids.clone().map(|id| PREFS[(id % 3) as usize]))),
        Arc::new(Int32Array::from_iter_values(ids.clone().map(|id| (id % 1000) as i32))),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(tags)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn of(batches: Vec<Vec<RecordBatch>>) -> Rows {
    let streams = batches.into_iter().map(|batches| batches.into_iter().map(Ok).collect()).collect();
    Rows { schema: schema(), ..rows_of(streams) }
}

async fn run(memory: &Arc<Memory>, source: Rows, by: &[&str], sizes: (u64, u64)) -> Result<Written> {
    let store: Arc<dyn Objects> = Arc::new(Store(memory.clone()));
    let columns = crate::arrow_types::columns(&source.schema).unwrap();
    let by: Vec<String> = by.iter().map(|&name| name.into()).collect();
    let sizes = config::Parquet { row_group_size: sizes.0, file_size: sizes.1, ..Default::default() };
    let location = "s3://b/t/g".parse().unwrap();
    let ended = partitioned::write_until(pending(), &store, &location, source, &columns, &by, sizes, "datasets.t");
    match ended.await? {
        PartitionedOutcome::All(written) => Ok(written),
        PartitionedOutcome::Stopped(progress) => panic!("stopped without a stop signal: {progress:?}"),
    }
}

/// Returns the ids in a file, in file order.
fn ids_of(memory: &Memory, file: &File, column: usize) -> Vec<i64> {
    let ids =
        |batch: &RecordBatch| batch.column(column).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
    let (footer, batches) = rows(memory, file);
    assert_eq!(footer.file_metadata().num_rows() as u64, file.rows);
    batches.iter().flat_map(ids).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unsorted_rows_land_in_the_folder_of_their_values() {
    let memory = Arc::new(Memory::default());
    let batches = |ids: Range<i64>| ids.clone().step_by(777).map(|n| batch(n..(n + 777).min(ids.end))).collect();
    let source = of(vec![batches(0..20_000), vec![], batches(20_000..50_000)]);
    let written = run(&memory, source, &["dt", "pref"], (1 << 20, 4 << 20)).await.unwrap();
    assert_eq!((written.existing, written.projected, written.files.len()), (21, 21, 21));
    let mut all = BTreeSet::new();
    for file in &written.files {
        let values = turntable_core::partition::values_of(&written.partitions, &file.key).unwrap();
        assert!(file.key.ends_with("/part-00000.parquet"), "{}", file.key);
        let ids = ids_of(&memory, file, 0);
        for id in &ids {
            let day = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(19_000 + id % 7 * 2);
            assert_eq!(values, [day.to_string().as_str(), PREFS[(id % 3) as usize]]);
        }
        // Rows from one stream stay in order.
        assert!(ids.iter().filter(|id| **id < 20_000).is_sorted());
        all.extend(ids);
    }
    assert_eq!(all, (0..50_000).collect());
    let (footer, read) = rows(&memory, &written.files[0]);
    let columns = columns_of(&"s3://b/k".parse().unwrap(), &footer).unwrap();
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "n", "tags"]);
    let expected = batch(ids(&read[..1])[0]..ids(&read[..1])[0] + 1);
    let tags = |column: &ArrayRef| column.as_any().downcast_ref::<ListArray>().unwrap().value(0);
    assert_eq!(&tags(read[0].column(2)), &tags(expected.column(4)));
    assert_eq!(memory.aborted.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_partition_gets_several_full_files() {
    let memory = Arc::new(Memory::default());
    let batches: Vec<_> = (0..400_000).step_by(10_000).map(|n| batch(n..n + 10_000)).collect();
    let written = run(&memory, of(vec![batches]), &["pref"], (50_000, 100_000)).await.unwrap();
    assert_eq!(written.existing, 3);
    for pref in PREFS {
        let files: Vec<&File> = written.files.iter().filter(|file| file.key.contains(pref)).collect();
        assert!((2..20).contains(&files.len()), "{files:?}");
        for (n, file) in files.iter().enumerate() {
            assert_eq!(file.key, format!("pref={pref}/{}", turntable_core::layout::part(n)));
        }
        assert!(files[..files.len() - 1].iter().all(|file| file.bytes >= 75_000), "{files:?}");
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 400_000 / 3 + u64::from(pref == PREFS[0]));
    }
}

#[tokio::test]
async fn source_without_rows_has_a_folder_that_projection_finds() {
    for (by, key) in [("dt", "dt=1970-01-01/"), ("n", "n=0/"), ("pref", "pref=none/")] {
        let memory = Arc::new(Memory::default());
        let written = run(&memory, of(vec![vec![], vec![batch(0..0)]]), &[by], (1 << 20, 1 << 20)).await.unwrap();
        assert_eq!((written.existing, written.files.len(), written.files[0].rows), (0, 1, 0));
        assert_eq!(written.files[0].key, format!("{key}part-00000.parquet"));
        assert!(written.partitions[0].has(&written.partitions[0].first()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_partition_value_is_reported_without_the_value_and_leaves_no_upload() {
    let mut unfit = batch(0..5).columns().to_vec();
    unfit[0] = Arc::new(Date32Array::from(vec![Some(1), Some(2), None, Some(4), Some(i32::MAX)]));
    unfit[2] = Arc::new(StringArray::from(vec!["a", "secret/b", "c", "d", "e"]));
    unfit[3] = Arc::new(Int32Array::from(vec![1, 2, 3, 4, i32::MAX]));
    let unfit = RecordBatch::try_new(schema(), unfit).unwrap();
    for (by, expected) in [
        ("dt", "datasets.t: partition_by: column \"dt\" of row 5003 of part 2 of 2 is NULL, which can't be a folder"),
        ("pref", "datasets.t: partition_by: column \"pref\" of row 5002 of part 2 of 2 has a character"),
        ("n", "datasets.t: partition_by n: Athena would project 2147483648 partitions, but only 1001 have rows"),
    ] {
        let memory = Arc::new(Memory::default());
        let source = of(vec![vec![batch(0..100_000)], vec![batch(0..5000), unfit.clone()]]);
        let error = run(&memory, source, &[by], (50_000, 100_000)).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.message().starts_with(expected), "{error}");
        assert!(!error.message().contains("secret"), "{error}");
        let (begun, aborted) = (memory.begun.load(Ordering::Relaxed), memory.aborted.load(Ordering::Relaxed));
        assert_eq!(begun, aborted + memory.objects.lock().unwrap().len());
    }
    for (by, expected) in [
        (&["day"][..], "the source has no column \"day\"; it has dt, id, pref, n, tags"),
        (&["tags"], "column \"tags\": Athena can't project partitions of type array<bigint>: cast the column"),
    ] {
        let memory = Arc::new(Memory::default());
        let error = run(&memory, of(vec![vec![]]), by, (1, 1)).await.err().unwrap();
        assert!(error.kind() == Kind::Config && error.message().contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_stream_or_upload_leaves_no_upload_unfinished() {
    let memory = Arc::new(Memory::default());
    let mut source = of(vec![(0..100_000).step_by(1000).map(|n| batch(n..n + 1000)).collect()]);
    source.streams.push(stream_of(vec![Ok(batch(0..3000)), Err(Error::unavailable("the database has gone"))]));
    source.streams.push(stream::pending().boxed());
    let error = run(&memory, source, &["n"], (1000, 1_000_000)).await.err().unwrap();
    assert_eq!(error.report(), "the database has gone");
    let memory_of = |refuse| Arc::new(Memory { refuse, ..Memory::default() });
    let refusing = memory_of(Some("n=7/part-00000.parquet"));
    let source = of(vec![(0..100_000).step_by(1000).map(|n| batch(n..n + 1000)).collect()]);
    let error = run(&refusing, source, &["n"], (1000, 1_000_000)).await.err().unwrap();
    assert_eq!((error.kind(), error.report()), (Kind::Unavailable, "refused".into()));
    for memory in [memory, refusing] {
        let (begun, aborted) = (memory.begun.load(Ordering::Relaxed), memory.aborted.load(Ordering::Relaxed));
        assert_eq!(begun, aborted + memory.objects.lock().unwrap().len());
    }
}

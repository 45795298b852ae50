//! What a refresh costs in this process, S3 and Glue in memory: `cargo run --release -p tests --example optout_speed`.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/optout/lake.rs"]
mod lake;

use std::{sync::Arc, time::Instant};

use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use lake::Lake;

fn parquet(rows: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer: Option<parquet::arrow::ArrowWriter<&mut Vec<u8>>> = None;
    let mut to = Some(&mut bytes);
    for start in (0..rows).step_by(1 << 16) {
        let ids = start..(start + (1 << 16)).min(rows);
        let times = ids.clone().map(|id| 1_767_225_600_000_000 - id * 7919 % 31_536_000 * 1_000_003);
        let batch = RecordBatch::try_from_iter([
            ("user_id", Arc::new(Int64Array::from_iter_values(ids.clone())) as _),
            ("state", Arc::new(StringArray::from_iter_values(ids.map(|_| "opted_out"))) as _),
            ("occurred_at", Arc::new(TimestampMicrosecondArray::from_iter_values(times)) as _),
        ])
        .unwrap();
        if let Some(to) = to.take() {
            writer = Some(parquet::arrow::ArrowWriter::try_new(to, batch.schema(), None).unwrap());
        }
        writer.as_mut().unwrap().write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
    bytes
}

#[tokio::main]
async fn main() {
    for (rows, buckets) in [(100_000, 64), (1_000_000, 8), (1_000_000, 64), (10_000_000, 64)] {
        let lake = Lake::with(&format!("buckets = {buckets}"));
        lake.drop("base.parquet", parquet(rows));
        let began = Instant::now();
        assert_eq!(lake.refresh().await.unwrap().rows, rows as u64);
        println!("{rows} rows in {buckets} buckets: first {:?}", began.elapsed());
        for records in [1, 1000, 10_000] {
            let mut all = Vec::new();
            for turn in 0..5 {
                let lines: String = (0..records)
                    .map(|n| format!("{},withdrawn,2026-02-0{}T00:00:00Z\n", n * (rows / records), turn + 1))
                    .collect();
                lake.drop(&format!("{records}-{turn}.csv"), format!("user_id,state,occurred_at\n{lines}"));
                let copies = lake.copies();
                let began = Instant::now();
                lake.refresh().await.unwrap();
                all.push((began.elapsed(), buckets - (lake.copies() - copies) as i64));
            }
            all.sort();
            println!("  {records} records: {:?}, {} buckets rewritten", all[2].0, all[2].1);
        }
    }
    let peak = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", peak.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}

//! Measures a refresh in this process, on in-memory S3 and Glue: `cargo run --release -p tests --example optout_speed`.

use std::time::Instant;

use tests::optouts::{Lake, drops::parquet};

#[tokio::main]
async fn main() {
    for (rows, buckets) in [(100_000, 64), (1_000_000, 8), (1_000_000, 64), (10_000_000, 64)] {
        let lake = Lake::with(&format!("buckets = {buckets}"));
        lake.drop("base.parquet", parquet(0..rows));
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

//! Opt-outs from other sources: compressed drops in every format, and reconciliation with a whole table.

use std::{io::Write, sync::Arc};

use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::json;

use super::{
    Chain,
    optout::{OPTOUTS, OUT, start, unprotected},
    sql,
};

/// Person, state, and hour on 1 January 2026 in UTC.
type ConsentRecord = (i64, &'static str, u8);

impl Chain {
    async fn has(&self, words: &[ConsentRecord]) -> bool {
        let word = |(id, state, hour): &ConsentRecord| {
            format!("(user_id = {id} AND state = '{state}' AND occurred_at = timestamp '2026-01-01 {hour:02}:00:00')")
        };
        let any: Vec<String> = words.iter().map(word).collect();
        let there = self.number(&format!("SELECT count(*) FROM dmp.optouts WHERE {}", any.join(" OR "))).await;
        (there, self.number("SELECT count(*) FROM dmp.optouts").await) == (words.len() as u64, words.len() as u64)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_of_every_format_and_a_reconciled_database_make_one_table() {
    let server = sql::start().await;
    let nightly = "CREATE TABLE optouts (user_id bigint, state text, occurred_at timestamptz);
                   INSERT INTO optouts VALUES (1, 'opted_in', '2026-01-01 00:00Z'), (2, 'opted_in', '2026-01-01 09:00Z'),
                                              (4, 'withdrawn', '2026-01-01 04:00Z')";
    sql::run(&server.url(), nightly).await;
    let query = "SELECT user_id, state, occurred_at FROM optouts";
    let reconcile = format!("reconcile = {{ postgres = {{ secret = \"dmp/optouts\", query = \"{query}\" }} }}");
    let chain =
        start(&unprotected(OPTOUTS).replace("bigint\" } } }", &format!("bigint\" }}, {reconcile} }} }}"))).await;
    let secrets = aws_sdk_secretsmanager::Client::new(&chain.aws);
    secrets.create_secret().name("dmp/optouts").secret_string(server.url()).send().await.unwrap();

    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"user_id,state,occurred_at\n1,opted_out,2026-01-01T05:00:00Z\n").unwrap();
    chain.put("inbox/optouts/a.csv.gz", gz.finish().unwrap()).await.unwrap();
    let json = "{\"user_id\":2,\"state\":\"withdrawn\",\"occurred_at\":\"2026-01-01T15:00:00+09:00\"}\n{\"user_id\":\n";
    chain.put("inbox/optouts/deep/b.ndjson.zst", zstd::encode_all(json.as_bytes(), 1).unwrap()).await.unwrap();
    let batch = RecordBatch::try_from_iter([
        ("user_id", Arc::new(Int64Array::from(vec![3])) as _),
        ("state", Arc::new(StringArray::from(vec!["opted_out"])) as _),
        ("occurred_at", Arc::new(TimestampMicrosecondArray::from(vec![1_767_236_400_000_000])) as _),
    ])
    .unwrap();
    let mut parquet = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut parquet, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    chain.put("inbox/optouts/c.parquet", parquet).await.unwrap();
    chain.until("the table", async || chain.table("optouts").await).await;
    chain.until_number(OUT, 3).await;
    assert!(chain.has(&[(1, "opted_out", 5), (2, "withdrawn", 6), (3, "opted_out", 3)]).await);
    assert_eq!(chain.keys("inbox/optouts/_rejected/").await.len(), 1);

    let done = chain.ask("optout", &json!({ "dataset": "optouts", "action": "reconcile" })).await;
    assert_eq!((&done["outcome"], &done["applied"]), (&json!("swapped"), &json!(2)), "{done}");
    assert!(chain.has(&[(1, "opted_out", 5), (2, "opted_in", 9), (3, "opted_out", 3), (4, "withdrawn", 4)]).await);
}

//! A Parquet object that S3 copies into the generation, all the way to a reader.

use serde_json::json;

use crate::chain::{Chain, USERS, generation, users};

#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_object_is_copied_and_goes_live() {
    let copied = "[datasets.copied]\nsource = { files = { location = \"s3://${BUCKET}/parquet/\" } }\n\
                  checks = { not_null = [\"id\"], max_shrink = 0.1 }\n";
    let chain = Chain::start(&format!("{USERS}{copied}")).await;
    chain.put("source/users/a.csv", users(3_000, 1)).await.unwrap();
    let first = generation(&chain.ask("export", &json!({ "dataset": "users" })).await);
    let part = chain.get(&format!("schemas/users/{first}/part-00000.parquet")).await.unwrap();
    chain.put("parquet/会員 +%.parquet", part.clone()).await.unwrap();

    let answer = chain.ask("export", &json!({ "dataset": "copied" })).await;
    assert_eq!(answer["rows"], 3_000);
    let there = chain.get(&format!("schemas/copied/{}/part-00000.parquet", generation(&answer))).await.unwrap();
    assert!(there == part, "not one byte differs");
    chain.next("copied", None).await;
    let row = chain.query("SELECT count(*), max(id) FROM dmp.copied").await;
    assert_eq!(row, [Some("3000".into()), Some("3000".into())]);
}

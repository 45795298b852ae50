//! Follows a Parquet object that S3 copies from another bucket into a generation, up to a reader's query.

use serde_json::json;

use super::{Chain, USERS, generation, users};

#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_object_is_copied_and_goes_live() {
    let copied = "[datasets.copied]\nsource = { files = { location = \"s3://${BUCKET}-scratch/parquet/\" } }\n\
                  checks = { not_null = [\"id\"], max_shrink = 0.1 }\n";
    let chain = Chain::deploy(&format!("{USERS}{copied}"), |deployment| {
        deployment.parameters.push(("SourceBuckets".into(), format!("{}-scratch", deployment.bucket)));
    })
    .await;
    chain.put("source/users/a.csv", users(3_000, 1)).await.unwrap();
    let first = generation(&chain.ask("export", &json!({ "dataset": "users" })).await);
    let part = chain.get(&format!("schemas/users/{first}/part-00000.parquet")).await.unwrap();
    let put = chain.s3.put_object().bucket(&chain.scratch).key("parquet/会員 +%.parquet");
    put.body(part.clone().into()).send().await.unwrap();

    let answer = chain.ask("export", &json!({ "dataset": "copied" })).await;
    assert_eq!(answer["rows"], 3_000);
    let there = chain.get(&format!("schemas/copied/{}/part-00000.parquet", generation(&answer))).await.unwrap();
    assert!(there == part, "not one byte differs");
    chain.next("copied", None).await;
    let row = chain.query("SELECT count(*), max(id) FROM dmp.copied").await;
    assert_eq!(row, [Some("3000".into()), Some("3000".into())]);
}

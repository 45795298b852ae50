//! A table that was edited or lost its files by hand: the next event or sweep restores it, and readers get all rows again.

use serde_json::json;

use super::{
    Chain, USERS, generation,
    optout::{OPTOUTS, unprotected},
    users,
};

#[tokio::test(flavor = "multi_thread")]
async fn edited_columns_come_back_by_glues_event_and_lost_files_by_the_next_sweep() {
    let chain = Chain::start(&format!("{USERS}on_drift = \"repair\"\n")).await;
    let export = json!({ "dataset": "users" });
    chain.put("source/users/users.csv", users(500, 1)).await.unwrap();
    let first = generation(&chain.ask("export", &export).await);
    chain.next("users", None).await;
    chain.put("source/users/users.csv", users(510, 2)).await.unwrap();
    let second = generation(&chain.ask("export", &export).await);
    let paths = chain.paths("users");
    chain.next("users", Some(&paths.generation(&first))).await;

    let table = chain.table("users").await.unwrap();
    let mut input = turntable::aws::glue::unchanged(&table);
    let columns = input.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap();
    columns[0].r#type = Some("string".into());
    columns.pop();
    chain.glue.update_table().database_name("dmp").table_input(input).send().await.unwrap();
    let before = table.storage_descriptor.as_ref().unwrap().columns();
    // The emulator sends no event about a table, so the test does.
    let event = serde_json::from_str(include_str!("../../../../events/flip-glue.json")).unwrap();
    let repaired = chain.ask("flip", &event).await;
    assert_eq!(repaired["outcome"], "swapped", "{repaired}");
    let now = chain.table("users").await.unwrap();
    assert_eq!(now.storage_descriptor.unwrap().columns(), before);

    // Deletes the table's record, because a release without this record left the folder like that.
    let record = paths.table().key;
    chain.s3.delete_object().bucket(&chain.bucket).key(&record).send().await.unwrap();
    for key in chain.keys(&paths.generation(&second).prefix).await {
        chain.s3.delete_object().bucket(&chain.bucket).key(&key).send().await.unwrap();
    }
    assert_eq!(chain.rows().await, 0, "Athena gives no error");
    let attention = || async { chain.ask("flip", &json!({ "action": "status" })).await["attention"].to_string() };
    assert!(attention().await.contains("readers miss rows, without an error"));
    let swept = chain.ask("sweep", &json!({})).await;
    assert!(swept["notes"].to_string().contains("; repaired"), "{swept}");
    assert_eq!((chain.rows().await, attention().await), (500, "[]".to_owned()));
    assert!(chain.keys(&record).await.contains(&record), "sweep writes which table is published here");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_merge_of_opt_outs_says_why() {
    let entry = unprotected(OPTOUTS);
    let chain = Chain::start(&format!("{entry}checks = {{ min_rows = 3 }}\n")).await;
    chain.drop("a.csv", "7,opted_out,2026-01-01T00:00:00Z\n").await;
    let attention = || async { chain.ask("flip", &json!({ "action": "status" })).await["attention"].to_string() };
    let told = async || Some(attention().await).filter(|told| told.contains("min_rows: expected at least 3, found 1"));
    chain.until("the verdict", told).await;
    assert_eq!(chain.live("optouts").await, None);
    chain.drop("b.csv", "8,opted_out,2026-01-01T00:00:00Z\n9,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until("the table", async || chain.live("optouts").await).await;
    assert!(!attention().await.contains("min_rows"));
}

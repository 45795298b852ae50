//! Tables whose datasets are moved, removed from datasets.toml, renamed, and added again.

use serde_json::{Value, json};

use super::{
    Chain, USERS,
    optout::{OPTOUTS, unprotected},
    users,
};

fn retire(dataset: &str, table: &str) -> Value {
    json!({ "dataset": dataset, "action": "retire", "table": table, "reason": "sold" })
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_retired_renamed_and_come_back() {
    let optouts = unprotected(OPTOUTS);
    let both = format!("{USERS}{optouts}");
    let chain = Chain::start(&both).await;
    chain.put("source/users/users.csv", users(500, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;
    chain.drop("a.csv", "7,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.next("optouts", None).await;
    let page = chain.follower("docs/operate.md").await.replacing("\"orders\"", "\"users\"");
    let attention = || async { chain.ask("flip", &json!({ "action": "status" })).await["attention"].to_string() };

    // Another stack publishes the table too.
    let record = "schemas/users/_table.json";
    let own = chain.get(record).await.unwrap();
    let mut other: Value = serde_json::from_slice(&own).unwrap();
    other["stack"] = "another".into();
    chain.put(record, other.to_string()).await.unwrap();
    assert!(attention().await.contains("the stack another publishes this table too"));
    chain.put(record, own).await.unwrap();
    assert_eq!(attention().await, "[]");

    // The table moves to another location, and back.
    let reads = |folder: &'static str| {
        let chain = &chain;
        let at = async move || chain.live("users").await.filter(|at| at.to_string().contains(folder));
        async move { chain.until(folder, at).await }
    };
    chain.datasets(&both.replace("[datasets.users]\n", "[datasets.users]\nlocation = \"s3://${BUCKET}/team\"\n")).await;
    assert!(attention().await.contains("nothing sweeps"));
    for _ in 0..2 {
        let told = page.follow("Move", 0..1, &[]).await;
        assert!(told.contains("moved"), "{told}");
    }
    page.follow("Move", 1..2, &[]).await;
    reads("/team/users/").await;
    assert_eq!((attention().await, chain.rows().await), ("[]".to_owned(), 500));
    chain.datasets(&both).await;
    let from = chain.named("s3://${BUCKET}/team");
    let back = json!({ "dataset": "users", "action": "move", "from": from, "reason": "together again" });
    assert_eq!(chain.ask("flip", &back).await["outcome"], "moved");
    chain.ask("export", &json!({ "dataset": "users" })).await;
    reads("/schemas/users/").await;
    assert_eq!((attention().await, chain.rows().await), ("[]".to_owned(), 500));

    // The table is kept, and its dataset comes back.
    chain.datasets(&optouts).await;
    assert!(attention().await.contains("no dataset in datasets.toml publishes it any more"));
    let told = page.follow("Retire", 0..1, &[]).await;
    assert!(told.contains("retired"), "{told}");
    assert_eq!((attention().await, chain.rows().await), ("[]".to_owned(), 500));
    chain.datasets(&both).await;
    chain.ask("sweep", &json!({})).await;
    let record = chain.keys("_retired/schemas/").await;
    assert_eq!(record.len(), 1);
    let released = chain.s3.get_object().bucket(&chain.bucket).key(&record[0]).send().await.unwrap();
    let released: Value = serde_json::from_slice(&released.body.collect().await.unwrap().into_bytes()).unwrap();
    assert_eq!((&released["released"], &released["why"]), (&json!(true), &json!("frozen for the auditors")));

    // The table is renamed.
    chain.datasets(&both.replace("[datasets.users]\n", "[datasets.users]\ntable = \"customers\"\n")).await;
    for _ in 0..2 {
        let told = page.follow("Rename", 0..1, &[]).await;
        assert!(told.contains("renamed"), "{told}");
    }
    assert!(chain.table("users").await.is_none());
    assert_eq!(chain.query("SELECT count(*) FROM dmp.customers").await, [Some("500".to_owned())]);
    assert_eq!(attention().await, "[]");

    // The renamed table is published in its own folder, and then dropped.
    chain.put("source/users/users.csv", users(600, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("customers", chain.live("customers").await.as_ref()).await;
    chain.datasets(&optouts).await;
    let told = page.follow("Retire", 1..2, &[]).await;
    assert!(told.contains("retired") && chain.table("customers").await.is_none(), "{told}");
    page.finish("tests/tests/it/chain/retire.rs");

    // An inbox that protects nothing is retired, and comes back with every opt-out.
    chain.datasets(USERS).await;
    assert_eq!(chain.ask("flip", &retire("optouts", "drop")).await["outcome"], "retired");
    assert!(chain.table("optouts").await.is_none() && chain.table("optouts_active").await.is_none());
    // Deletes the files, as sweep does after the drain, and the published record, as an operator does because the drops
    // are still in the inbox.
    let files = chain.keys(&chain.paths("optouts").location().prefix).await;
    let record = chain.keys("inbox/optouts/_published.json").await;
    for key in files.into_iter().chain(record) {
        chain.s3.delete_object().bucket(&chain.bucket).key(&key).send().await.unwrap();
    }
    chain.datasets(&both).await;
    chain.drop("b.csv", "8,opted_out,2026-01-01T00:00:00Z\n").await;
    let back = async || {
        chain.table("optouts").await?;
        let rows = chain.query("SELECT count(*) FROM dmp.optouts").await;
        (rows == [Some("2".to_owned())]).then_some(())
    };
    chain.until("the opt-outs", back).await;
}

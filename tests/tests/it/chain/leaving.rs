//! docs/leave.md: a dataset and a whole stack are removed, and what stays is what the page says.

use serde_json::json;

use super::{Chain, USERS, users};

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_and_a_stack_are_removed_as_the_page_says() {
    let orders = USERS.replace("datasets.users", "datasets.orders");
    let chain = Chain::start(&format!("{USERS}{orders}")).await;
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    chain.ask("export", &json!({})).await;
    chain.next("users", None).await;
    chain.next("orders", None).await;

    // A dataset is removed.
    chain.datasets(USERS).await;
    let page = chain.follower("docs/leave.md").await;
    page.follow("A dataset", 0..1, &[]).await;
    let told = page.follow("A dataset", 1..2, &[]).await;
    assert!(told.starts_with("orders: retired\n  dmp.orders stays as it is"), "{told}");
    assert_eq!(chain.query("SELECT count(*) FROM dmp.orders").await, [Some("100".to_owned())]);
    let told = page.follow("A dataset", 2..3, &[]).await;
    assert!(told.starts_with("orders: retired\n  dmp.orders is dropped"), "{told}");
    assert!(chain.table("orders").await.is_none());
    let named: Vec<&str> = told.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let stays = [
        chain.named("s3://${BUCKET}/schemas/orders/_table.json"),
        chain.named("s3://${BUCKET}/_retired/schemas/orders.json"),
    ];
    for at in &stays {
        assert!(named.contains(&at.as_str()), "{told}");
        let key = at.splitn(4, '/').nth(3).unwrap();
        assert!(chain.get(key).await.is_ok(), "{at}");
    }
    let told = page.follow("A dataset", 3..4, &[]).await;
    assert!(told.contains("draining: the table was dropped at"), "{told}");

    // The stack is removed. Readers don't notice.
    page.follow("A stack", 0..1, &[]).await;
    let is_gone = async || {
        let output = page.shell("\"$TURNTABLE\" status --aws", &[]).output().await.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        (output.status.code() == Some(3) && err.starts_with("error: no stack ")).then_some(())
    };
    chain.until("the stack's end", is_gone).await;
    assert_eq!(chain.query("SELECT count(*) FROM dmp.users").await, [Some("100".to_owned())]);
    assert!(chain.get("datasets.toml").await.is_ok());

    // The tables and the bucket are removed.
    page.follow("A stack", 1..4, &[]).await;
    assert!(chain.table("users").await.is_none());
    let listed = chain.s3.list_buckets().send().await.unwrap();
    assert!(listed.buckets().iter().all(|bucket| bucket.name() != Some(&chain.bucket)), "{listed:?}");
    page.finish("tests/tests/it/chain/leaving.rs");
}

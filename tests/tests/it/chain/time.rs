//! An export that would exceed the function's timeout, and one that fails for a while.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Chain, USERS, sql, sqs, users};

#[tokio::test(flavor = "multi_thread")]
async fn export_stops_by_itself_before_its_time_is_up() {
    let server = sql::start().await;
    let chain = Chain::start("").await;
    let name = &chain.functions["export"];
    chain.stack.account.set_function_timeout(name, 15).await.unwrap();
    let query = "SELECT i, md5(i::text) AS a, md5((-i)::text) AS b, CASE WHEN i > 600000 THEN pg_sleep(0.01)::text END AS c \
                 FROM (SELECT generate_series(1, 100000000) AS i) AS s";
    let source = format!("{{ postgres = {{ url = \"{}\", query = \"{query}\" }} }}", server.url());
    chain.datasets(&format!("[datasets.users]\nparquet = {{ row_group_mb = 1 }}\nsource = {source}\n")).await;

    let started = Instant::now();
    let head = async {
        let head = async || (chain.unfinished_uploads().await == 1).then_some(());
        chain.until("an upload that has begun", head).await;
    };
    let event = json!({ "dataset": "users" });
    let (answer, ()) = tokio::join!(chain.answer("export", &event), head);
    let refused = answer.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(refused.error_type, "Config");
    let text = &refused.error_message;
    assert!(
        text.starts_with("users: export stopped after ")
            && text.contains(" s, shortly before the function's timeout: "),
        "{text}"
    );
    assert!(
        text.contains(" in 1 files were written; nothing was published. To make it faster, read over several"),
        "{text}"
    );
    let rows = text.split(": ").nth(2).and_then(|rest| rest.split(' ').next()).and_then(|rows| rows.parse().ok());
    assert!(rows.is_some_and(|rows: u64| rows > 100_000), "{text}");
    assert_eq!(chain.left("schemas/").await, Vec::<String>::new());
    assert_eq!(chain.unfinished_uploads().await, 0);

    // The timeout covers all exports of a group, and members that were written before it aren't published either.
    let first = source.replace(query, "SELECT 1 AS i");
    let group = |name: &str, source: &str| format!("[datasets.{name}]\ngroup = \"core\"\nsource = {source}\n");
    chain.datasets(&[group("first", &first), group("users", &source)].concat()).await;
    let refused = chain.answer("export", &json!({ "dataset": "first" })).await.unwrap_err();
    let text = &refused.error_message;
    assert!(text.starts_with("users (group core, 1 of 2 members done): export stopped after "), "{text}");
    assert!(text.contains("nothing was published. To make it faster, split the group, read over several"), "{text}");
    let keys = chain.left("schemas/").await;
    assert!(keys.iter().all(|key| key.starts_with("schemas/first/blue-")), "{keys:?}");
    assert_eq!(chain.unfinished_uploads().await, 0);
}

/// The message is redelivered after one minute, instead of after the queue's visibility timeout of 90 minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_transient_failure_is_retried_within_minutes() {
    let nowhere = "[datasets.users]\nsource = { postgres = { url = \"postgres://u:p@127.0.0.1:1/d\", query = \"SELECT 1 AS n\" } }\n";
    let chain = Chain::start(nowhere).await;
    chain.put("source/users/a.csv", users(100, 1)).await.unwrap();
    chain.ask("export", &json!({})).await;
    let failed = async || chain.lines("export", "export failed").await.pop();
    let line = chain.until("the first failure", failed).await;
    let started = Instant::now();
    assert_eq!((line["kind"].as_str(), line["received"].as_u64()), (Some("Unavailable"), Some(1)), "{line}");
    chain.datasets(USERS).await;
    chain.next("users", None).await;
    assert!(started.elapsed() > Duration::from_secs(45), "{:?}", started.elapsed());
    let gone = async || (sqs::depth(&chain, &chain.outputs["ExportQueueUrl"]).await == (0, 0)).then_some(());
    chain.until("the message's end", gone).await;
    assert_eq!(sqs::depth(&chain, &chain.outputs["ExportDeadLettersUrl"]).await, (0, 0));
}

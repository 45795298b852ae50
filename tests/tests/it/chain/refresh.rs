//! A tick exports what is due, and the flip's record exports what is built from it.

use std::collections::BTreeMap;

use serde_json::json;
use turntable::manifest::Manifest;

use super::{Chain, USERS, users};

#[tokio::test(flavor = "multi_thread")]
async fn a_due_dataset_and_what_is_built_from_it_follow_by_themselves() {
    let copy = USERS.replace("[datasets.users]", "[datasets.copy]\nrefresh = { after = [\"users\"] }");
    let chain = Chain::start(&format!("{USERS}refresh = \"rate(1 day)\"\n{copy}")).await;
    chain.put("source/users/users.csv", users(100, 0)).await.unwrap();
    // A stack that last looked years ago: one export makes up for all due times since.
    let state = format!("_stacks/{}/refresh.json", chain.name);
    chain.put(&state, json!({ "datasets": { "users": "2024-11-21T00:00:00Z" } }).to_string()).await.unwrap();
    chain.ask("export", &json!({ "action": "tick" })).await;
    let users = chain.next("users", None).await;
    let copy = chain.next("copy", None).await;
    let key = chain.paths("copy").manifest(&copy);
    let manifest = Manifest::from_json(&key, &copy, &chain.get(&key.key).await.unwrap()).unwrap();
    assert_eq!(manifest.inputs, BTreeMap::from([("users".to_owned(), users)]));
    // The next tick finds nothing due.
    assert_eq!(chain.ask("export", &json!({ "action": "tick" })).await, json!({ "queued": [] }));
    let status = chain.ask("flip", &json!({ "dataset": "copy", "action": "status" })).await;
    assert_eq!(status["built_from"], json!({ "users": users }));
    assert_eq!(status["refresh"]["waits"], "flips of users");
    let status = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
    let text = |field: &str| status["refresh"][field].as_str().map(str::to_owned);
    assert!(text("last").is_some() && text("last") < text("next"), "{status}");
}

//! A tick starts the exports that are due. The record of a flip starts the exports of datasets that are built from the
//! flipped one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

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

/// Prints how long it takes from a put to the flip.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_is_live_within_seconds_and_is_exported_once() {
    let chain = Chain::start(&format!("{USERS}refresh = {{ on_put = true }}\n")).await;
    let (mut live, mut took) = (None, Vec::new());
    for round in 0..7 {
        let csv = users(100_000, round);
        let start = Instant::now();
        chain.put("source/users/users.csv", csv).await.unwrap();
        let generation = chain.next("users", live.as_ref()).await;
        took.push(start.elapsed().as_secs_f64());
        live = Some(chain.paths("users").generation(&generation));
    }
    // The first includes the functions' cold starts.
    let mut warm = took.split_off(1);
    warm.sort_by(f64::total_cmp);
    println!("put to live, 100,000 rows: first {:.2} s, then p50 {:.2} s, max {:.2} s", took[0], warm[3], warm[5]);
    // An object that the source ignores, and the same object once more.
    chain.put("source/users/_SUCCESS", String::new()).await.unwrap();
    chain.put("source/users/users.csv", users(100_000, 6)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users", "put": true })).await;
    let waits =
        || async { chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await["refresh"].clone() };
    chain.until("no put waits", async || (waits().await == json!({ "on_put": true })).then_some(())).await;
    let manifests: BTreeSet<String> = chain.keys("schemas/users/_manifests/").await.into_iter().collect();
    assert_eq!(manifests.len(), 7, "{manifests:?}");
}

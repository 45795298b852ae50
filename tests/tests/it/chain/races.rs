//! Concurrent exports, and every event delivered three times in shuffled order: the freshest generation ends up live.

use aws_sdk_glue::types::{StorageDescriptor, TableInput};
use serde_json::{Value, json};
use turntable::{
    layout::{Generation, Key},
    record::{self, Flip},
};

use super::{Chain, USERS, generation, manifest_event, users};

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_refuses_a_stale_version() {
    let chain = Chain::start(USERS).await;
    let input = |location: &str| {
        let storage = StorageDescriptor::builder().location(location).build();
        TableInput::builder().name("t").storage_descriptor(storage).build().unwrap()
    };
    let update = |to: &str, version: &str| {
        let update = chain.glue.update_table().database_name("dmp").table_input(input(to));
        update.version_id(version).skip_archive(true).send()
    };
    chain.glue.create_table().database_name("dmp").table_input(input("s3://b/one")).send().await.unwrap();
    let read = chain.table("t").await.unwrap().version_id.unwrap();
    update("s3://b/two", &read).await.unwrap();
    let refused = update("s3://b/three", &read).await.unwrap_err();
    assert!(refused.as_service_error().unwrap().is_concurrent_modification_exception(), "{refused:?}");
    let table = chain.table("t").await.unwrap();
    assert_eq!(table.storage_descriptor().unwrap().location(), Some("s3://b/two"));
    assert_ne!(table.version_id().unwrap(), read);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exports_at_once_end_with_the_fresher_one() {
    let chain = Chain::start(USERS).await;
    chain.put("source/users/users.csv", users(1000, 1)).await.unwrap();
    let request = json!({ "dataset": "users" });
    chain.ask("export", &request).await;
    let first = chain.next("users", None).await;

    let (one, other) = tokio::join!(chain.ask("export", &request), chain.ask("export", &request));
    assert_ne!(generation(&one), generation(&other));
    let fresher = if as_of(&one) > as_of(&other) { &one } else { &other };
    let ended = async || Some(chain.lines("flip", "flip").await).filter(|lines| lines.len() >= 3);
    chain.until("three flips", ended).await;
    let live = chain.live("users").await.unwrap();
    assert_eq!(live, chain.paths("users").generation(&generation(fresher)));
    is_consistent(&chain, &first, &generation(fresher)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_three_times_in_any_order_ends_with_the_freshest() {
    let chain = Chain::start(USERS).await;
    chain.put("source/users/users.csv", users(1000, 1)).await.unwrap();
    let request = json!({ "dataset": "users" });
    chain.ask("export", &request).await;
    let first = chain.next("users", None).await;
    let paths = chain.paths("users");

    // The hold prevents flips by the events that the emulator itself delivers.
    let hold = json!({ "dataset": "users", "action": "hold", "reason": "the test delivers by itself" });
    assert_eq!(chain.ask("flip", &hold).await["outcome"], "held");
    let mut exported = Vec::new();
    for _ in 0..3 {
        exported.push(generation(&chain.ask("export", &request).await));
    }
    let held = async || {
        let lines = chain.lines("flip", "flip").await;
        // One line for the hold itself, and one for each manifest.
        (lines.iter().filter(|line| line["outcome"] == "Held").count() == 4).then_some(())
    };
    chain.until("three held flips", held).await;
    assert_eq!(chain.live("users").await, Some(paths.generation(&first)));
    assert_eq!(chain.ask("flip", &json!({ "dataset": "users", "action": "release" })).await["outcome"], "status");

    let mut deliveries: Vec<&Generation> = exported.iter().chain([&first]).flat_map(|one| [one; 3]).collect();
    shuffle(&mut deliveries);
    for at_once in deliveries.chunks(3) {
        let events: Vec<Value> = at_once.iter().map(|generation| manifest_event(&paths, generation)).collect();
        let answers = futures::future::join_all(events.iter().map(|event| chain.ask("flip", event))).await;
        for answer in answers {
            let outcome = answer["outcome"].as_str().unwrap().to_owned();
            assert!(["swapped", "already_live", "stale"].contains(&outcome.as_str()), "{answer}");
        }
    }
    let freshest = exported.last().unwrap();
    assert_eq!(chain.live("users").await, Some(paths.generation(freshest)));
    is_consistent(&chain, &first, freshest).await;

    // A late duplicate doesn't undo a rollback either.
    let back = chain.ask("flip", &json!({ "dataset": "users", "action": "rollback", "generation": first })).await;
    assert_eq!((&back["outcome"], &back["live"]), (&json!("swapped"), &json!(first.to_string())));
    for generation in &deliveries {
        let answer = chain.ask("flip", &manifest_event(&paths, generation)).await;
        let expected = if *generation == &first { "already_live" } else { "stale" };
        assert_eq!(answer["outcome"], expected, "{answer}");
    }
    assert_eq!(chain.live("users").await, Some(paths.generation(&first)));
}

/// Checks that the records lead from the first generation to the live one: each starts from the target of the record
/// before, and no target occurs twice.
async fn is_consistent(chain: &Chain, first: &Generation, live: &Generation) {
    let paths = chain.paths("users");
    let mut flips: Vec<Flip> = Vec::new();
    for name in chain.keys(&paths.flips().prefix).await {
        let key = Key { bucket: chain.bucket.clone(), key: name };
        flips.push(record::from_json(&key, &chain.get(&key.key).await.unwrap()).unwrap());
    }
    // Concurrent deliveries may each find the flip done, and write the same record.
    flips.dedup_by(|one, other| (&one.from, one.to) == (&other.from, other.to));
    assert_eq!(flips.first().map(|flip| (flip.to, &flip.from)), Some((*first, &None)), "{flips:?}");
    assert_eq!(flips.last().map(|flip| flip.to), Some(*live), "{flips:?}");
    for pair in flips.windows(2) {
        assert_eq!(pair[1].from, Some(paths.generation(&pair[0].to)), "{flips:?}");
    }
    let mut to: Vec<Generation> = flips.iter().map(|flip| flip.to).collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), flips.len(), "{flips:?}");
}

fn as_of(answer: &Value) -> jiff::Timestamp {
    answer["as_of"].as_str().unwrap().parse().unwrap()
}

/// Shuffles reproducibly (Fisher-Yates, with a Lehmer random number generator).
fn shuffle<T>(items: &mut [T]) {
    let mut number: u64 = 20_241_121;
    for at in (1..items.len()).rev() {
        number = number * 48_271 % 2_147_483_647;
        items.swap(at, number as usize % (at + 1));
    }
}

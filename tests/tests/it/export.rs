//! How `export` handles failures and its own timeout, tested in process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tests::{disturbed::Disturbed, rig::Rig};
use turntable::{config::Config, deadline::Deadline, error::Kind};

fn message(received: u32, body: &str) -> Value {
    let attributes = json!({ "ApproximateReceiveCount": received.to_string() });
    json!({ "messageId": "m", "receiptHandle": "receipt", "body": body, "attributes": attributes })
}

#[tokio::test]
async fn datasets_toml_is_parsed_again_only_if_it_has_changed() {
    let rig = Rig::default();
    let (first, second) = (rig.env().config().await.unwrap(), rig.env().config().await.unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    rig.configure("id = \"bigint\"", "refresh = \"manual\"");
    let changed = rig.env().config().await.unwrap();
    let is_manual = |config: &Config| config.dataset("users").unwrap().refresh.is_some();
    assert!(is_manual(&changed) && !is_manual(&first));
}

/// Handles a message with these faults. Returns how many messages SQS must redeliver, and what became of each failed
/// message.
async fn settled(rig: &Rig, objects: Disturbed, message: Value) -> (usize, Vec<String>) {
    let env = rig.env_on(rig.catalog.port(), objects.on(&rig.objects));
    let answer = rig.export_with(env, json!({ "Records": [message] })).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap().len();
    (failures, std::mem::take(&mut *rig.queue.1.lock().unwrap()))
}

#[tokio::test]
async fn a_transient_failure_is_redelivered_twice_and_then_goes_to_the_dead_letter_queue() {
    let rig = Rig::default();
    let body = "{\"dataset\":\"users\"}";
    for (received, again, done) in [
        (1, 1, "receipt comes again after 60s"),
        (2, 1, "receipt comes again after 300s"),
        (3, 0, "{\"dataset\":\"users\"} is dead: Unavailable"),
        (4, 0, "{\"dataset\":\"users\"} is dead: Unavailable"),
    ] {
        let unanswering = Disturbed::default().refuse("_manifests");
        assert_eq!(settled(&rig, unanswering, message(received, body)).await, (again, vec![done.to_owned()]));
    }
    let fine = Disturbed::default();
    assert_eq!(settled(&rig, fine, message(3, body)).await, (0, vec![]));
}

/// An export conflicts if another run with the same generation name has already written the first file.
#[tokio::test]
async fn a_conflict_with_another_run_is_redelivered_too() {
    let body = "{\"dataset\":\"users\"}";
    for (received, again, done) in [
        (1, 1, "receipt comes again after 60s"),
        (2, 1, "receipt comes again after 300s"),
        (3, 0, "{\"dataset\":\"users\"} is dead: Conflict"),
    ] {
        let (rig, other) = {
            let rig = Rig::default();
            (rig.fork(), rig)
        };
        assert_eq!(settled(&other, Disturbed::default(), message(received, body)).await, (0, vec![]));
        let part = other.objects.keys().into_iter().find(|key| key.ends_with("/part-00000.parquet")).unwrap();
        rig.objects.put(&part, "of the other run");
        let settled = settled(&rig, Disturbed::default(), message(received, body)).await;
        assert_eq!(settled, (again, vec![done.to_owned()]), "{received}");
        assert_eq!(rig.objects.body(&part).unwrap(), "of the other run");
    }
}

#[tokio::test]
async fn a_permanent_failure_goes_to_the_dead_letter_queue_at_once() {
    let rig = Rig::default();
    for body in ["no JSON", "{}", "{\"dataset\":\"nobody\"}"] {
        let dead = vec![format!("{body} is dead: Input")];
        assert_eq!(settled(&rig, Disturbed::default(), message(1, body)).await, (0, dead));
    }
}

#[tokio::test]
async fn a_generation_is_as_of_a_time_before_its_source_was_listed() {
    let rig = Arc::new(Rig::default());
    let listed = Arc::new(Mutex::new(None));
    let (clock, time) = (rig.clone(), listed.clone());
    let listing = Disturbed::default().before_list("s3://lake/in/", move || {
        *time.lock().unwrap() = Some(clock.now());
        Box::pin(async {})
    });
    let env = rig.env_on(rig.catalog.port(), listing.on(&rig.objects));
    let answer = rig.export_with(env, json!({ "dataset": "users" })).await.unwrap();
    let export::Answer::Exported(exported) = answer else { panic!("{answer:?}") };
    let listed = listed.lock().unwrap().expect("a listing");
    assert!(exported.as_of <= listed, "{} is after the listing at {listed}", exported.as_of);
}

#[tokio::test]
async fn export_stops_before_lambda_does() {
    let rig = Rig::default();
    let slow = Disturbed::default().before_list("in/", || Box::pin(tokio::time::sleep(Duration::from_secs(60))));
    let env = rig.env_on(rig.catalog.port(), slow.on(&rig.objects));
    let deadline = Deadline::after(Duration::from_millis(300));
    let error = rig.export_until(env, json!({ "dataset": "users" }), Some(deadline)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "a retry would only take as long again");
    let text = error.message();
    assert!(text.starts_with("users: export stopped after 0 s, shortly before the function's timeout: "), "{text}");
    assert!(text.contains("the source was still being opened; nothing was published"), "{text}");
}

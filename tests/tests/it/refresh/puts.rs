//! Refreshes that puts trigger, in process: bursts, duplicates, late and lost events, and puts during an export.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{disturbed::Disturbed, rig::Rig, wire::Fate};
use turntable::{manifest::Manifest, read::Read};

use super::support::{Disturbing, deliver, handle, queued, tick};

const NOW: &str = "refresh = { on_put = true }\n";
const SETTLE: &str = "refresh = { on_put = true, settle = \"30s\" }\n";
const MESSAGE: &str = "{\"dataset\":\"users\",\"put\":true}";

fn seconds(number: i64) -> SignedDuration {
    SignedDuration::from_secs(number)
}

/// Returns the event of a put.
fn event(key: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/flip-s3.json")).unwrap();
    event["detail"]["object"]["key"] = json!(key);
    event
}

/// Delivers the events of puts as one batch of the queue. Returns how many SQS must redeliver.
async fn events(rig: &Rig, keys: &[&str]) -> usize {
    let message = |key: &&str| json!({ "messageId": key, "receiptHandle": "r", "body": event(key).to_string(), "attributes": {} });
    let batch: Vec<Value> = keys.iter().map(message).collect();
    let answer = rig.export_with(rig.env(), json!({ "Records": batch })).await.unwrap();
    serde_json::to_value(answer).unwrap()["batchItemFailures"].as_array().unwrap().len()
}

fn put(rig: &Rig, name: &str, csv: &str) {
    rig.objects.put(&format!("s3://lake/in/{name}"), csv.to_owned());
}

/// Returns all manifests, the oldest first.
fn manifests(rig: &Rig) -> Vec<Manifest> {
    let mut keys: Vec<String> = rig.objects.keys().into_iter().filter(|key| key.contains("/_manifests/")).collect();
    keys.sort_by_key(|key| key.rsplit('-').next().unwrap().to_owned());
    keys.iter().map(|key| serde_json::from_slice(&rig.objects.body(key).unwrap()).unwrap()).collect()
}

async fn waits(rig: &Rig) -> Value {
    let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap();
    serde_json::to_value(status).unwrap()["refresh"]["waits"].clone()
}

#[tokio::test]
async fn a_burst_is_exported_once_and_the_manifest_lists_what_was_read() {
    let rig = Rig::with(NOW);
    put(&rig, "more.csv", "id,name\n7,n7\n");
    assert_eq!(events(&rig, &["in/users.csv", "in/more.csv", "in/more.csv"]).await, 0);
    assert_eq!(events(&rig, &["in/users.csv"]).await, 0);
    assert_eq!(queued(&rig), [MESSAGE]);
    assert!(waits(&rig).await.as_str().unwrap().starts_with("the export for the put at "), "{}", waits(&rig).await);
    assert_eq!(handle(&rig, MESSAGE).await, 0);
    let all = manifests(&rig);
    let read = all[0].read.clone().unwrap();
    assert_eq!((all.len(), all[0].rows, read.objects), (1, 4, 2));
    assert_eq!(read.etags.keys().collect::<Vec<_>>(), ["in/more.csv", "in/users.csv"]);
    // Copies of the message and of the event, however late, export nothing.
    assert_eq!(handle(&rig, MESSAGE).await, 0);
    events(&rig, &["in/users.csv"]).await;
    assert_eq!((queued(&rig).len(), handle(&rig, MESSAGE).await, manifests(&rig).len()), (1, 0, 1));
    assert_eq!(waits(&rig).await, Value::Null);
}

#[tokio::test]
async fn objects_that_the_source_ignores_and_those_that_an_export_writes_export_nothing() {
    let rig = Rig::with(NOW);
    rig.flip(&rig.export().await).await.unwrap();
    let written: Vec<String> = rig.objects.keys().into_iter().filter(|key| key.contains("/users/")).collect();
    for key in &written {
        assert_eq!(events(&rig, &[key.strip_prefix("s3://lake/").unwrap()]).await, 0);
    }
    assert_eq!(events(&rig, &["in/_SUCCESS", "in/.tmp/a.csv", "in/", "inside/a.csv", "other.csv"]).await, 0);
    assert_eq!((queued(&rig).len(), rig.queue.dead()), (0, 0));
    // Also not an object that was there before, which was put again without a change.
    rig.source(3);
    events(&rig, &["in/users.csv"]).await;
    assert_eq!((queued(&rig).len(), handle(&rig, MESSAGE).await, manifests(&rig).len()), (1, 0, 1));
    rig.source(4);
    events(&rig, &["in/users.csv"]).await;
    assert_eq!((queued(&rig).len(), handle(&rig, MESSAGE).await, manifests(&rig).len()), (1, 0, 2));
}

#[tokio::test]
async fn an_export_waits_until_no_put_has_come_for_settle() {
    let rig = Rig::with(SETTLE);
    events(&rig, &["in/users.csv"]).await;
    assert_eq!(queued(&rig), [MESSAGE]);
    assert_eq!(rig.queue.1.lock().unwrap().pop().unwrap(), format!("{MESSAGE} comes after 30s"));
    rig.advance(seconds(20));
    put(&rig, "more.csv", "id,name\n7,n7\n");
    events(&rig, &["in/more.csv"]).await;
    assert_eq!(queued(&rig), Vec::<String>::new(), "one message is on its way");
    let why = waits(&rig).await;
    assert!(
        why.as_str().unwrap().contains("and the export starts at 2027-01-15T08:00:50Z if no other follows"),
        "{why}"
    );
    rig.advance(seconds(10));
    assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig).len()), (0, 0));
    assert_eq!(queued(&rig), [MESSAGE], "it comes again when the last put has settled");
    let later = rig.queue.1.lock().unwrap().pop().unwrap();
    assert!(later.starts_with(&format!("{MESSAGE} comes after 19.9")), "{later}");
    rig.advance(seconds(20));
    assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig)[0].rows), (0, 4));
}

#[tokio::test]
async fn puts_during_an_export_lead_to_exactly_one_more() {
    let rig = Arc::new(Rig::with(NOW));
    events(&rig, &["in/users.csv"]).await;
    let other = rig.clone();
    let during = Disturbed::default().before_put("_manifests", move || {
        let rig = other.clone();
        Box::pin(async move {
            for name in ["b.csv", "c.csv"] {
                put(&rig, name, "id,name\n7,n7\n");
                assert_eq!(events(&rig, &[&format!("in/{name}")]).await, 0);
            }
            assert_eq!(handle(&rig, MESSAGE).await, 0, "a copy of the message");
            let why = waits(&rig).await;
            assert!(why.as_str().unwrap().starts_with("the export for the put at "), "{why}");
        })
    });
    queued(&rig);
    let env = rig.env_on(rig.catalog.port(), during.on(&rig.objects));
    assert_eq!(deliver(&rig, env, MESSAGE).await, 0);
    assert_eq!((manifests(&rig)[0].rows, queued(&rig)), (3, vec![MESSAGE.to_owned()]));
    assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig).len(), manifests(&rig)[1].rows), (0, 2, 5));
    assert_eq!(queued(&rig), Vec::<String>::new());
}

#[tokio::test]
async fn lost_events_and_lost_messages_are_made_up_for() {
    let rig = Rig::with(NOW);
    rig.flip(&rig.export().await).await.unwrap();
    // Sweep asks each hour, and nothing is exported unless there is something to read.
    rig.sweep().await.unwrap();
    assert_eq!(queued(&rig), [MESSAGE]);
    assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig).len()), (0, 1));
    rig.source(5);
    assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig).len()), (0, 2));
    // A function died after it had noted a put, before it sent the message.
    rig.source(6);
    events(&rig, &["in/users.csv"]).await;
    assert_eq!(queued(&rig), [MESSAGE]);
    tick(&rig).await;
    assert_eq!(queued(&rig), Vec::<String>::new());
    rig.advance(seconds(61));
    tick(&rig).await;
    assert_eq!(queued(&rig), [MESSAGE]);
    assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig).len()), (0, 3));
    rig.advance(seconds(61));
    tick(&rig).await;
    assert_eq!(queued(&rig), Vec::<String>::new());
    // A deleted object is no put.
    rig.objects.delete("s3://lake/in/users.csv");
    assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig).len()), (0, 3));
}

#[tokio::test]
async fn a_failed_export_is_retried_by_its_message_and_then_waits_for_the_next_put() {
    let rig = Rig::with(NOW);
    events(&rig, &["in/users.csv"]).await;
    queued(&rig);
    let env = rig.env_on(rig.catalog.port(), Disturbed::default().refuse("_manifests").on(&rig.objects));
    assert_eq!(deliver(&rig, env, MESSAGE).await, 1, "it fails");
    rig.advance(seconds(120));
    tick(&rig).await;
    assert_eq!(queued(&rig), Vec::<String>::new(), "the queue delivers the message again");
    let why = waits(&rig).await;
    assert!(why.as_str().unwrap().contains("failed, and is tried again"), "{why}");
    assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig).len()), (0, 1));

    put(&rig, "bad.csv", "id,name\nx,n\n");
    events(&rig, &["in/bad.csv"]).await;
    queued(&rig);
    rig.advance(seconds(2));
    assert_eq!(handle(&rig, MESSAGE).await, 0, "it fails for good");
    assert_eq!(rig.queue.dead(), 1);
    assert_eq!(waits(&rig).await, Value::Null);
    // Neither ticks nor sweep repeat what failed for good.
    rig.advance(seconds(3600));
    tick(&rig).await;
    assert_eq!(queued(&rig), Vec::<String>::new());
    assert_eq!((handle(&rig, MESSAGE).await, rig.queue.dead()), (0, 1));
    rig.advance(seconds(3600));
    put(&rig, "bad.csv", "id,name\n8,n\n");
    events(&rig, &["in/bad.csv"]).await;
    assert_eq!((queued(&rig).len(), handle(&rig, MESSAGE).await, manifests(&rig).len()), (1, 0, 2));
}

#[tokio::test]
async fn events_that_can_not_be_noted_are_delivered_again() {
    let rig = Rig::with(NOW);
    rig.objects.put("s3://lake/datasets.toml", "[".to_owned());
    assert_eq!(events(&rig, &["in/users.csv", "in/more.csv"]).await, 2);
}

/// Invokes `export` with a message, disturbed or not. Returns whether SQS is done with it.
async fn is_done(rig: &Rig, body: &str, wire: &Arc<Disturbing>) -> bool {
    let attributes = json!({ "ApproximateReceiveCount": "1" });
    let message = json!({ "messageId": "m", "receiptHandle": "receipt", "body": body, "attributes": attributes });
    let answer = wire.invoke(rig, json!({ "Records": [message] })).await;
    let failures = |answer| serde_json::to_value(answer).unwrap()["batchItemFailures"].as_array().unwrap().len();
    answer.is_some_and(|answer| failures(answer.unwrap()) == 0)
}

/// A put arrives after an export has failed for good, and the run that serves it dies.
#[tokio::test]
async fn a_put_is_read_although_its_run_died_and_the_one_before_failed_for_good() {
    let failed = Rig::with(NOW);
    put(&failed, "bad.csv", "id,name\nx,n\n");
    events(&failed, &["in/bad.csv"]).await;
    assert_eq!((queued(&failed).len(), handle(&failed, MESSAGE).await, failed.queue.dead()), (1, 0, 1));
    put(&failed, "bad.csv", "id,name\n8,n\n");
    events(&failed, &["in/bad.csv"]).await;
    let mut died = 0;
    for at in 0.. {
        let (rig, wire) = (failed.fork(), Disturbing::new(at, Fate::NeverLeaves));
        if is_done(&rig, MESSAGE, &wire).await {
            break;
        }
        died += 1;
        rig.advance(seconds(90 * 60));
        assert_eq!((handle(&rig, MESSAGE).await, manifests(&rig).len()), (0, 1), "it died at call {at}");
    }
    assert!(died > 8, "{died}");
}

/// Puts an object while one call has this fate: call number `at` of the invocation for the event (`stage` 0), for the
/// message (1) or for a tick (2). Redelivers what SQS would redeliver. Returns whether there was such a call.
async fn put_with_fault(stage: usize, at: i64, fate: Fate) -> bool {
    let rig = Rig::with(NOW);
    let undisturbed = || Disturbing::new(i64::MAX, Fate::Arrives);
    let wires: Vec<_> = (0..3).map(|of| if of == stage { Disturbing::new(at, fate) } else { undisturbed() }).collect();
    let event = event("in/users.csv").to_string();
    if !is_done(&rig, &event, &wires[0]).await {
        rig.advance(seconds(90 * 60));
        assert!(is_done(&rig, &event, &undisturbed()).await, "the event comes again");
    }
    let mut again = Vec::new();
    for round in 0..6 {
        let messages: Vec<String> = again.drain(..).chain(queued(&rig)).collect();
        for message in messages {
            if !is_done(&rig, &message, if round == 0 { &wires[1] } else { &wires[2] }).await {
                again.push(message);
            }
        }
        // A message of a run that died comes again after the queue's visibility timeout, long after the next ticks.
        rig.advance(seconds(if again.is_empty() { 61 } else { 90 * 60 }));
        wires[2].invoke(&rig, json!({ "action": "tick" })).await;
    }
    let case = format!("{fate:?} at call {at} of stage {stage}");
    assert_eq!((again.len(), queued(&rig).len(), rig.queue.dead()), (0, 0, 0), "{case}");
    let entries = rig.env().objects.list(&"s3://lake/in/".parse().unwrap(), None).await.unwrap();
    let read: Vec<_> = manifests(&rig).into_iter().map(|manifest| manifest.read).collect();
    assert_eq!(read, [Some(Read::of(&entries))], "{case}: it is read once");
    // The next put is read too.
    rig.advance(seconds(16 * 60));
    rig.source(9);
    assert!(is_done(&rig, &event, &undisturbed()).await);
    for message in queued(&rig) {
        assert!(is_done(&rig, &message, &undisturbed()).await);
    }
    assert_eq!(manifests(&rig).len(), 2, "{case}");
    wires[stage].has_come()
}

#[tokio::test]
async fn a_put_is_read_once_whatever_call_fails_or_is_the_last() {
    let mut cases = 0;
    for stage in 0..3 {
        for fate in [Fate::Fails, Fate::NeverLeaves, Fate::LastOfAll] {
            for at in 0.. {
                if !put_with_fault(stage, at, fate).await {
                    break;
                }
                cases += 1;
            }
        }
    }
    assert!(cases > 60, "{cases}");
}

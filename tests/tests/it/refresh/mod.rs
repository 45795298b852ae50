//! Refreshes by the datasets' own schedules, in process: ticks, due times, and one run for each.

mod inputs;
mod page;
mod puts;
mod support;
mod week;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::json;
use tests::{
    disturbed::Disturbed,
    rig::Rig,
    wire::{Call, Fate, Wire, Wired},
};

use self::support::{deliver, handle, queued, rig, tick};

const FIVE: &str = "refresh = \"rate(5 minutes)\"\n";

fn minutes(number: i64) -> SignedDuration {
    SignedDuration::from_mins(number)
}

fn generations(rig: &Rig) -> usize {
    rig.objects.keys().iter().filter(|key| key.contains("/_manifests/")).count()
}

#[tokio::test]
async fn each_due_time_is_exported_once() {
    let rig = rig(FIVE);
    tick(&rig).await;
    assert_eq!(queued(&rig), Vec::<String>::new(), "a new dataset waits for its next time");
    for round in 1..4 {
        rig.advance(minutes(5));
        // The clock began at 08:00:00Z.
        let due = format!("{{\"dataset\":\"users\",\"due\":\"2027-01-15T08:{:02}:00Z\"}}", 5 * round);
        tick(&rig).await;
        tick(&rig).await;
        assert_eq!(queued(&rig), [due.as_str()]);
        for _ in 0..3 {
            assert_eq!(handle(&rig, &due).await, 0);
            assert_eq!(generations(&rig), round);
        }
    }
}

#[tokio::test]
async fn missed_ticks_are_made_up_for_by_one_export() {
    let rig = rig(FIVE);
    tick(&rig).await;
    rig.advance(minutes(3 * 60 + 3));
    tick(&rig).await;
    assert_eq!(queued(&rig), ["{\"dataset\":\"users\",\"due\":\"2027-01-15T11:00:00Z\"}"]);
}

#[tokio::test]
async fn a_tick_that_dies_before_it_stores_the_due_times_queues_them_again_and_one_message_exports() {
    let rig = rig(FIVE);
    tick(&rig).await;
    rig.advance(minutes(6));
    let deaf = Arc::new(Wired { wire: Arc::new(Refusing("refresh.json")), port: rig.env().objects });
    let error = rig.export_with(rig.env_on(rig.catalog.port(), deaf), json!({ "action": "tick" })).await;
    assert!(error.is_err());
    tick(&rig).await;
    let messages = queued(&rig);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], messages[1]);
    for message in messages {
        assert_eq!(handle(&rig, &message).await, 0);
    }
    assert_eq!(generations(&rig), 1);
}

struct Refusing(&'static str);

#[async_trait]
impl Wire for Refusing {
    async fn fate(&self, call: Call) -> Fate {
        if call.op.is_effect() && call.on.ends_with(self.0) { Fate::Fails } else { Fate::Arrives }
    }
}

/// Notes every call.
#[derive(Default)]
struct Noting(Mutex<Vec<String>>);

#[async_trait]
impl Wire for Noting {
    async fn fate(&self, call: Call) -> Fate {
        self.0.lock().unwrap().push(call.to_string());
        Fate::Arrives
    }
}

#[tokio::test]
async fn a_tick_without_a_due_dataset_takes_two_requests_and_one_without_schedules_takes_one() {
    for (more, expected) in [
        (FIVE, vec!["Get s3://lake/datasets.toml", "Get s3://lake/_stacks/default/refresh.json"]),
        ("", vec!["Get s3://lake/datasets.toml"]),
        ("refresh = \"manual\"\n", vec!["Get s3://lake/datasets.toml"]),
    ] {
        let rig = rig(more);
        tick(&rig).await;
        rig.advance(minutes(1));
        let wire = Arc::new(Noting::default());
        let noted = Arc::new(Wired { wire: wire.clone(), port: rig.env().objects });
        rig.export_with(rig.env_on(rig.catalog.port(), noted), json!({ "action": "tick" })).await.unwrap();
        assert_eq!(*wire.0.lock().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_run_reads_its_record_with_one_request_and_replaces_it_with_one() {
    let rig = rig(FIVE);
    let wire = Arc::new(Noting::default());
    let noted = Arc::new(Wired { wire: wire.clone(), port: rig.env().objects });
    let env = rig.env_on(rig.catalog.port(), noted);
    assert_eq!(deliver(&rig, env, "{\"dataset\":\"users\",\"due\":\"2027-01-15T08:05:00Z\"}").await, 0);
    let calls: Vec<String> = wire.0.lock().unwrap().iter().filter(|call| call.contains("_refresh")).cloned().collect();
    let record = "s3://lake/schemas/users/_refresh.json";
    assert_eq!(calls, ["Get", "PutNew", "Get", "Replace"].map(|op| format!("{op} {record}")));
}

#[tokio::test]
async fn the_stacks_schedule_leaves_out_datasets_with_a_refresh_of_their_own() {
    for (more, expected) in [("", 1), (FIVE, 0), ("refresh = \"manual\"\n", 0)] {
        let rig = rig(more);
        rig.export_with(rig.env(), json!({})).await.unwrap();
        assert_eq!(queued(&rig).len(), expected, "{more}");
        rig.export_with(rig.env(), json!({ "dataset": ["users"] })).await.unwrap();
        assert_eq!(queued(&rig), ["{\"dataset\":\"users\"}"], "{more}: by hand");
    }
}

#[tokio::test]
async fn what_becomes_due_during_an_export_is_exported_once_after_it() {
    let rig = Arc::new(rig(FIVE));
    let due = |minute: u8| format!("{{\"dataset\":\"users\",\"due\":\"2027-01-15T08:{minute:02}:00Z\"}}");
    let (other, first, later) = (rig.clone(), due(5), [due(10), due(15)]);
    let again = first.clone();
    let during = Disturbed::default().before_list("s3://lake/in/", move || {
        let (rig, later, again) = (other.clone(), later.clone(), again.clone());
        Box::pin(async move {
            for message in &later {
                assert_eq!(handle(&rig, message).await, 0, "it is remembered");
            }
            assert_eq!(handle(&rig, &again).await, 1, "a copy of the message is kept, in case the export dies");
            let settled = std::mem::take(&mut *rig.queue.1.lock().unwrap());
            assert_eq!(settled.len(), 1);
            assert!(settled[0].starts_with("receipt comes again after 9"), "{settled:?}");
            let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap();
            let refresh = serde_json::to_value(status).unwrap()["refresh"].clone();
            let waits = refresh["waits"].as_str().unwrap();
            assert!(waits.starts_with("the export for 2027-01-15T08:15:00Z starts when"), "{waits}");
            assert!(refresh["running_since"].is_string());
            let attention = rig.attention().await;
            let slow =
                attention.iter().find(|message| message.contains("was still in progress when the next one was due"));
            assert!(slow.is_some(), "{attention:?}");
        })
    });
    let env = rig.env_on(rig.catalog.port(), during.on(&rig.objects));
    deliver(&rig, env, &first).await;
    assert_eq!(generations(&rig), 1);
    assert_eq!(queued(&rig), [due(15)]);
    assert_eq!((handle(&rig, &due(15)).await, handle(&rig, &due(10)).await), (0, 0));
    assert_eq!((generations(&rig), queued(&rig).len()), (2, 0));
}

#[tokio::test]
async fn an_export_that_failed_or_died_is_run_again() {
    let rig = rig(FIVE);
    let due = "{\"dataset\":\"users\",\"due\":\"2027-01-15T08:05:00Z\"}";
    let env = rig.env_on(rig.catalog.port(), Disturbed::default().refuse("_manifests").on(&rig.objects));
    assert_eq!(deliver(&rig, env, due).await, 1, "it fails");
    assert_eq!((handle(&rig, due).await, generations(&rig)), (0, 1), "the retry succeeds");

    let later = "{\"dataset\":\"users\",\"due\":\"2027-01-15T08:10:00Z\"}";
    let record = "s3://lake/schemas/users/_refresh.json";
    let text = String::from_utf8(rig.objects.body(record).unwrap().to_vec()).unwrap();
    let (now, until) = (rig.now(), rig.now() + minutes(16));
    let dead = json!({ "due": "2027-01-15T08:10:00Z", "since": now, "until": until });
    let mut stored: serde_json::Value = serde_json::from_str(&text).unwrap();
    stored["running"] = dead;
    rig.objects.put(record, stored.to_string());
    assert_eq!((handle(&rig, later).await, generations(&rig)), (1, 1));
    rig.advance(minutes(16));
    assert_eq!((handle(&rig, later).await, generations(&rig)), (0, 2));
}

#[tokio::test]
async fn status_shows_the_last_and_the_next_refresh() {
    let rig = rig("refresh = \"cron(0 9 * * ? *)\"\ntimezone = \"Asia/Tokyo\"\n");
    assert_eq!(handle(&rig, "{\"dataset\":\"users\",\"due\":\"2027-01-15T00:00:00Z\"}").await, 0);
    let expected = json!({
        "schedules": ["cron(0 9 * * ? *)"], "last": "2027-01-15T00:00:00Z", "next": "2027-01-16T00:00:00Z",
    });
    let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap();
    assert_eq!(serde_json::to_value(status).unwrap()["refresh"], expected);
    let all = turntable::flip::status_of_all(&rig.env()).await.unwrap();
    assert_eq!(serde_json::to_value(all).unwrap()["datasets"][0]["refresh"], expected);
}

#[tokio::test]
async fn an_export_that_died_after_its_manifest_is_not_repeated() {
    let rig = rig(FIVE);
    let due = "{\"dataset\":\"users\",\"due\":\"2027-01-15T08:05:00Z\"}";
    let since = rig.now();
    rig.export().await;
    let dead = json!({ "due": "2027-01-15T08:05:00Z", "since": since, "until": since + minutes(16) });
    rig.objects.put("s3://lake/schemas/users/_refresh.json", json!({ "running": dead }).to_string());
    rig.advance(minutes(17));
    assert_eq!((handle(&rig, due).await, generations(&rig)), (0, 1));
    let record = rig.objects.body("s3://lake/schemas/users/_refresh.json").unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record, json!({ "done": "2027-01-15T08:05:00Z" }));
}

/// An engine's export ends long after the message about its due time.
#[tokio::test]
async fn a_due_time_waits_for_the_engines_run_in_progress() {
    let rig = crate::engines::support::rig(crate::engines::support::ATHENA, FIVE);
    let due = |minute: u8| format!("{{\"dataset\":\"users\",\"due\":\"2027-01-15T08:{minute:02}:00Z\"}}");
    rig.advance(minutes(5));
    assert_eq!(handle(&rig, &due(5)).await, 0);
    rig.advance(minutes(5));
    for _ in 0..2 {
        assert_eq!(handle(&rig, &due(10)).await, 0);
    }
    assert_eq!((rig.engine.runs().len(), queued(&rig).len()), (1, 0));
    rig.engine.succeed(0, 3, &[""]).await;
    let event = crate::engines::support::event_of(&rig, 0);
    rig.export_with(rig.env(), event).await.unwrap();
    assert_eq!((generations(&rig), queued(&rig)), (1, vec![due(10)]));
    assert_eq!((handle(&rig, &due(10)).await, rig.engine.runs().len()), (0, 2));
}

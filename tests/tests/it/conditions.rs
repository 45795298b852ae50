//! The conditions that need an operator: their IDs, when they started, and those that aren't about a dataset.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tests::rig::Rig;
use turntable::{
    bucket_settings::{LifecycleRule, Versioning},
    environment::Environment,
    error::{Error, Result},
    port::{Answered, DeadLetter, DeadLetterQueue, DeadLetterQueues},
    status::{Condition, Overview},
};

async fn overview(env: &Environment) -> Overview {
    turntable::flip::status_of_all(env).await.expect("an overview")
}

async fn conditions(rig: &Rig) -> Vec<Condition> {
    overview(&rig.env()).await.conditions
}

async fn ids(rig: &Rig) -> Vec<String> {
    conditions(rig).await.into_iter().map(|one| one.id).collect()
}

#[tokio::test]
async fn condition_keeps_its_id_and_its_beginning_while_it_lasts() {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "prices" })).await.unwrap();
    let held = conditions(&rig).await.remove(0);
    assert_eq!((held.id.as_str(), held.runbook.as_str()), ("held:users", "docs/operate.md#a-dataset-is-held"));
    assert!(held.since.is_some());
    rig.advance(SignedDuration::from_hours(1));
    assert_eq!(conditions(&rig).await, [held]);
    rig.ask(json!({ "dataset": "users", "action": "release" })).await.unwrap();
    assert_eq!(ids(&rig).await, [""; 0]);

    // The record of the second failure has the time of the first, until an export succeeds.
    rig.objects.put("s3://lake/in/users.csv", "not,a,table\n");
    let fails = async || rig.export_with(rig.env(), json!({ "dataset": "users" })).await.unwrap_err();
    fails().await;
    let first = conditions(&rig).await.remove(0);
    rig.advance(SignedDuration::from_hours(24));
    fails().await;
    let second = conditions(&rig).await.remove(0);
    assert_eq!((&second.id, second.since), (&"export-failed:users".to_owned(), first.since));
    assert_ne!(second.message, first.message, "the message has the last failure's time");
    rig.source(3);
    let next = rig.export().await;
    rig.deliver(&next).await.unwrap();
    assert_eq!(ids(&rig).await, [""; 0]);
    rig.advance(SignedDuration::from_hours(1));
    rig.objects.put("s3://lake/in/users.csv", "not,a,table\n");
    fails().await;
    assert!(conditions(&rig).await[0].since > second.since, "another condition with the same id");
}

#[tokio::test]
async fn export_that_is_retried_needs_no_attention_before_the_last_try() {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    let failure = |retry_at: Option<Timestamp>| {
        json!({ "at": rig.now(), "retry_at": retry_at, "error": "Unavailable", "reason": "no answer" }).to_string()
    };
    let key = "s3://lake/schemas/users/_export_failed.json";
    rig.objects.put(key, failure(Some(rig.now() + SignedDuration::from_mins(5))));
    let told = overview(&rig.env()).await;
    assert!(told.conditions.is_empty() && told.datasets[0].failed_export.is_some());
    // The retry died without recording a failure.
    rig.advance(SignedDuration::from_mins(30));
    assert_eq!(ids(&rig).await, ["export-failed:users"]);
    rig.objects.put(key, failure(None));
    assert_eq!(ids(&rig).await, ["export-failed:users"]);
}

#[tokio::test]
async fn buckets_settings_are_reported_until_a_sweep_finds_them_right() {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    rig.objects.configure("lake", |settings| {
        settings.event_bridge = false;
        settings.versioning = Versioning::Enabled;
        let rule = LifecycleRule { id: "old".into(), expires: true, ..LifecycleRule::default() };
        settings.lifecycle.push(rule);
    });
    assert_eq!(ids(&rig).await, [""; 0], "no sweep has looked");
    let swept = rig.sweep().await.unwrap();
    assert_eq!(swept.notes.len(), 3, "{swept:?}");
    let found = conditions(&rig).await;
    let expected = ["bucket-notifications:lake", "bucket-versioning:lake", "bucket-lifecycle:lake"];
    assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), expected);
    assert!(
        found[2].message.contains("rule \"old\" applies to the table dmp.users (schemas/users/) and deletes objects"),
        "{found:?}"
    );

    rig.advance(SignedDuration::from_hours(1));
    rig.objects.configure("lake", |settings| settings.event_bridge = true);
    rig.sweep().await.unwrap();
    assert_eq!(conditions(&rig).await, found[1..], "the others began when they were first found");
    rig.objects.configure("lake", |settings| {
        settings.versioning = Versioning::Off;
        settings.lifecycle.pop();
    });
    rig.sweep().await.unwrap();
    assert_eq!(ids(&rig).await, [""; 0]);
}

#[tokio::test]
async fn bucket_that_denies_its_settings_is_reported_and_stops_no_sweep() {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    let text = String::from_utf8(rig.objects.body("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
    let other = "[datasets.other]\nlocation = \"s3://private-bucket/schemas\"\n\
                 source = { files = { location = \"s3://lake/in/\", columns = { id = \"bigint\", name = \"string\" } } }\n";
    rig.objects.put("s3://lake/datasets.toml", format!("{text}{other}"));
    let swept = rig.sweep().await.unwrap();
    assert!(swept.notes.iter().any(|note| note.contains("GetBucketVersioning is denied")), "{swept:?}");
    assert!(ids(&rig).await.contains(&"bucket-unreadable:private-bucket".to_owned()));
}

#[tokio::test]
async fn table_in_a_database_that_no_dataset_names_any_more_is_reported() {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    rig.sweep().await.unwrap();
    let text = String::from_utf8(rig.objects.body("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
    let text = text.replace("\"dmp\"", "\"lake\"").replace("[datasets.users]", "[datasets.people]");
    rig.objects.put("s3://lake/datasets.toml", text);
    // A folder that doesn't belong to Turntable.
    rig.objects.put("s3://lake/schemas/notes/readme.txt", "by hand");
    let found = conditions(&rig).await;
    let id = |one: &Condition| one.id.clone();
    assert_eq!(found.iter().map(id).collect::<Vec<_>>(), ["no-table:people", "retired-table:dmp.users"]);
    assert!(found[1].message.contains(&format!("dmp.users: the table reads {generation}")), "{found:?}");
    rig.catalog.port().delete(&rig.table).await.unwrap();
    assert_eq!(ids(&rig).await, ["no-table:people"]);
}

#[tokio::test]
async fn drops_that_nobody_reads_are_reported() {
    for (more, expected) in [("", vec!["unread-drops:optouts"]), ("min_interval = \"40000h\"", vec![])] {
        let rig = Rig::inbox("");
        optout(&rig).await;
        let text = String::from_utf8(rig.objects.body("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
        rig.objects
            .put("s3://lake/datasets.toml", text.replace("buckets = 2", &format!("buckets = 2{}", interval(more))));
        assert_eq!(ids(&rig).await, [""; 0]);
        rig.objects
            .put("s3://lake/inbox/optouts/a.csv", "user_id,state,occurred_at\n7,opted_out,2026-01-01T00:00:00Z\n");
        let found = conditions(&rig).await;
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), expected);
        let told = overview(&rig.env()).await.datasets.remove(0).inbox.unwrap();
        assert_eq!((told.unread, told.last_drop, told.oldest_unread.is_some()), (1, told.oldest_unread, true));
        assert!(found.iter().all(|one| one.since == told.oldest_unread && one.message.contains("1 drop is unread")));
    }
}

fn interval(more: &str) -> String {
    more.split_once(" = ").map(|(_, value)| format!(", min_interval = {value}")).unwrap_or_default()
}

/// Refreshes the opt-outs, which publishes an empty table.
async fn optout(rig: &Rig) {
    let optout = optout::Optout { env: rig.env(), secrets: None, iam: None, deadline: None };
    optout::handle(optout, json!({})).await.expect("a refresh");
}

struct Queues(Vec<DeadLetterQueue>);

#[async_trait]
impl DeadLetterQueues for Queues {
    async fn look(&self) -> Result<Vec<DeadLetterQueue>> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn dead_letters_are_reported_per_queue_and_dataset() {
    let rig = Rig::with("");
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    let letter = |second| DeadLetter {
        body: json!({ "dataset": "users" }).to_string(),
        error: Some("the source is gone".into()),
        sent: Timestamp::from_second(second).ok(),
    };
    let queue = |function: &str, messages, sample| DeadLetterQueue { function: function.into(), messages, sample };
    let queues = vec![queue("export", 12, vec![letter(9), letter(7)]), queue("flip", 0, vec![])];
    let env = Environment { dead_letters: Some(Arc::new(Queues(queues))), ..rig.env() };
    let told = overview(&env).await;
    let found = &told.conditions[0];
    assert_eq!((found.id.as_str(), found.since), ("dead-letters:export", Timestamp::from_second(7).ok()));
    assert_eq!(
        found.message,
        "export: 12 dead letters (among 2 of them, users: 2): the source is gone. Remove the cause, invoke export with \
         {\"dataset\":\"users\"}, then delete each message"
    );
    assert_eq!((told.conditions.len(), told.dead_letters.len(), told.dead_letters[0].datasets["users"]), (1, 1, 2));
}

#[tokio::test]
async fn opt_outs_that_match_nobody_are_counted_and_reported() {
    let rig = Rig::with("");
    let text = String::from_utf8(rig.objects.body("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
    let inbox = "[datasets.optouts]\nsource = { inbox = { location = \"s3://lake/inbox/optouts\", key = \"user_id\", \
                 columns = { user_id = \"bigint\" } } }\nprotects = { users = \"id\" }\n";
    rig.objects.put("s3://lake/datasets.toml", format!("{text}{inbox}"));
    let generation = rig.export().await;
    rig.deliver(&generation).await.unwrap();
    optout(&rig).await;
    let matches = async || {
        let told = rig.ask(json!({ "dataset": "optouts", "action": "status" })).await.unwrap();
        serde_json::to_value(told).unwrap()["inbox"]["matches"].take()
    };
    let counts = |out: &str, unmatched: &str| {
        let row = [out, unmatched].map(|number| Some(number.to_owned())).to_vec();
        rig.athena.answers(move |_| Ok(Answered { rows: vec![row.clone()], scanned: 7 }));
    };
    counts("3", "1");
    assert_eq!(matches().await, json!([{ "table": "dmp.users", "out": 3, "unmatched": 1 }]));
    let asked = rig.athena.asked().pop().unwrap();
    assert!(
        asked.ends_with("NOT EXISTS (SELECT 1 FROM \"dmp\".\"users\" t WHERE o.\"user_id\" = t.\"id\"))"),
        "{asked}"
    );
    assert_eq!(ids(&rig).await, [""; 0]);
    counts("3", "3");
    assert!(matches().await[0]["warning"].as_str().unwrap().contains("none of the 3 people who opted out has a row"));
    let found = conditions(&rig).await.remove(0);
    assert_eq!(found.id, "match-nothing:optouts:dmp.users");
    assert!(found.since.is_some() && found.message.contains("invoke flip with {\"dataset\":\"optouts\""), "{found:?}");
    // A failure is reported, and doesn't replace the last counts.
    rig.athena.answers(|_| Err(Error::unavailable("Athena is away")));
    assert_eq!(matches().await[0]["error"], "Athena is away");
    assert_eq!(ids(&rig).await, ["match-nothing:optouts:dmp.users"]);
    counts("0", "0");
    matches().await;
    assert_eq!(ids(&rig).await, [""; 0], "without people nothing is wrong");
}

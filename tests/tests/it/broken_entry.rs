//! An entry of datasets.toml that has errors stops only its own dataset.

use serde_json::{Value, json};
use tests::optouts::{Lake, many};
use turntable::{error::Kind, publish::Outcome};

const FILE: &str = "s3://lake/datasets.toml";

async fn ids(lake: &Lake) -> Vec<String> {
    let overview = turntable::flip::status_of_all(&lake.env(lake.wire())).await.unwrap();
    overview.conditions.into_iter().map(|condition| condition.id).collect()
}

#[tokio::test]
async fn other_datasets_work_on_and_the_fault_is_reported() {
    let lake = Lake::default();
    lake.drop("a.csv", many(0..3));
    lake.refresh().await.unwrap();
    let good = lake.get(FILE).unwrap();
    lake.configure_dataset(
        "[datasets.users]\ndatabase = \"other\"\nlocation = \"s3://lake/users\"\nsource.files.location = \"s3://lake/in/\"\n\
         checks = { max_shrink = 7 }\n",
    );
    // The inbox is refreshed, by the schedule and by a message.
    lake.drop("b.csv", many(3..5));
    assert_eq!(lake.schedule().await.unwrap()[0].outcome, Outcome::Committed);
    lake.drop("c.csv", many(5..6));
    lake.nudge(lake.wire()).await;
    assert_eq!(lake.table().len(), 6);
    assert!(lake.sweep_all().await.is_ok());

    // The fault is reported with its position, and the dataset's own requests fail.
    assert_eq!(ids(&lake).await, ["broken-entry:users"]);
    let request = json!({ "dataset": "users", "action": "hold", "reason": "look" });
    let refused = lake.operator(request).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Config);
    assert!(refused.report().contains("datasets.toml:9:"), "{}", refused.report());
    let retire = json!({ "dataset": "old", "action": "retire", "table": "keep", "reason": "old" });
    assert_eq!(lake.operator(retire).await.unwrap_err().kind(), Kind::Config);

    lake.objects.put(FILE, good);
    assert_eq!(ids(&lake).await, [""; 0]);
}

#[tokio::test]
async fn inbox_with_faults_keeps_its_drops_and_is_not_called_unconfigured() {
    let lake = Lake::with("buckets = 4");
    lake.drop("a.csv", many(0..3));
    lake.refresh().await.unwrap();
    let live = lake.live();
    lake.configure_dataset(
        "checks = { unique = [\"user_id\"] }\n[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         source.files = { location = \"s3://lake/in/\", columns = { id = \"bigint\" } }\n",
    );
    lake.drop("b.csv", many(3..5));
    let mut event: Value = serde_json::from_str(include_str!("../../../events/optout-sqs.json")).unwrap();
    event["Records"].as_array_mut().unwrap().truncate(1);
    let answer = serde_json::to_value(lake.handle(lake.wire(), event).await.unwrap()).unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 1, "the message is kept: {answer}");
    assert_eq!(lake.schedule().await.unwrap().len(), 0);
    lake.sweep_all().await.unwrap();
    assert_eq!((lake.live(), lake.inbox()), (live, vec!["a.csv".to_owned(), "b.csv".to_owned()]));
    assert_eq!(ids(&lake).await, ["no-table:users", "broken-entry:optouts"]);
}

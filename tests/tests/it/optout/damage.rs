//! Lost and foreign files of the live opt-out table are noticed by the schedule and repaired.

use std::collections::BTreeSet;

use tests::optouts::{Lake, many};
use turntable::{error::Kind, flip, publish::Outcome};

use super::{reader::left_out, views::protecting};

const OUT: &str = "users_protected";

/// Returns the keys of the live generation's files.
fn live_files(lake: &Lake) -> Vec<String> {
    let prefix = lake.paths().generation(&lake.live().unwrap()).to_string();
    lake.objects.keys().into_iter().filter(|key| key.starts_with(&prefix)).collect()
}

async fn published(lake: &Lake, file: &str, people: std::ops::Range<i64>) {
    lake.drop(file, many(people));
    lake.nudge(lake.wire()).await;
}

#[tokio::test]
async fn lost_files_are_rebuilt_from_an_older_generation_and_the_inbox() {
    let lake = protecting();
    published(&lake, "a.csv", 0..3).await;
    published(&lake, "b.csv", 3..5).await;
    live_files(&lake).iter().for_each(|key| lake.objects.delete(key));
    assert!(left_out(&lake, OUT).unwrap_err().contains("has lost opt-outs"));

    let answer = lake.schedule().await.unwrap().remove(0);
    assert_eq!((answer.outcome, answer.rows), (Outcome::Committed, 5));
    assert_eq!(left_out(&lake, OUT), Ok((0..5).collect::<BTreeSet<i64>>()));
    assert_eq!(lake.consumed(), ["a.csv", "b.csv"], "each drop is listed once");
    assert_eq!(lake.schedule().await.unwrap()[0].outcome, Outcome::AlreadyLive);
}

#[tokio::test]
async fn without_a_complete_generation_the_views_fail_and_the_error_says_what_to_do() {
    let lake = protecting();
    published(&lake, "a.csv", 0..3).await;
    live_files(&lake).iter().for_each(|key| lake.objects.delete(key));
    let error = lake.schedule().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("no complete generation is left to rebuild it from"), "{}", error.message());
    assert!(left_out(&lake, OUT).is_err());
    let restored = lake.paths().generation(&lake.live().unwrap());
    assert!(error.message().contains(&restored.to_string()) || error.message().contains("part-00000.parquet"));
}

#[tokio::test]
async fn file_that_somebody_adds_is_left_out_of_the_next_generation() {
    let lake = protecting();
    published(&lake, "a.csv", 0..3).await;
    let other = protecting();
    published(&other, "x.csv", 7..9).await;
    let foreign = other.objects.body(&live_files(&other)[0]).unwrap();
    let location = lake.paths().generation(&lake.live().unwrap());
    lake.objects.put(&location.key("foreign.parquet").to_string(), foreign);
    assert_eq!(left_out(&lake, OUT).unwrap(), BTreeSet::from([0, 1, 2, 7, 8]));

    assert_eq!(lake.schedule().await.unwrap()[0].outcome, Outcome::Committed);
    assert_eq!(left_out(&lake, OUT), Ok(BTreeSet::from([0, 1, 2])));
}

#[tokio::test]
async fn objects_in_no_inbox_are_redelivered_and_need_attention() {
    let lake = protecting();
    lake.schedule().await.unwrap();
    lake.objects.put("s3://lake/inbox/optout/wrong.csv", many(0..1));
    let mut event: serde_json::Value =
        serde_json::from_str(include_str!("../../../../events/optout-sqs.json")).unwrap();
    let body = event["Records"][0]["body"].as_str().unwrap().to_owned();
    let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
    body["detail"]["object"]["key"] = "inbox/optout/wrong.csv".into();
    event["Records"][0]["body"] = body.to_string().into();
    let answer = serde_json::to_value(lake.handle(lake.wire(), event).await.unwrap()).unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 1, "{answer}");

    lake.drop("bad.csv", "user_id,state,occurred_at\nx,opted_out,2026-01-01T00:00:00Z\n");
    lake.schedule().await.unwrap();
    lake.objects.put("s3://lake/inbox/retired/_published.json", "{}");
    let attention = flip::status_of_all(&lake.env(lake.wire())).await.unwrap().attention;
    let about = |text: &str| attention.iter().filter(|line| line.contains(text)).count();
    assert_eq!(about("s3://lake/inbox/optout/: 1 object is not in any inbox"), 1, "{attention:?}");
    assert_eq!(about("optouts: rejected records from 1 drop are"), 1, "{attention:?}");
    assert_eq!(about("no inbox protects the table any more"), 0, "{attention:?}");
    assert_eq!(about("s3://lake/inbox/retired/ is an inbox that was published"), 1, "{attention:?}");
}

#[tokio::test]
async fn view_that_no_inbox_keeps_any_more_needs_attention() {
    let lake = protecting();
    lake.schedule().await.unwrap();
    let text = String::from_utf8(lake.get("s3://lake/datasets.toml").unwrap().to_vec()).unwrap();
    lake.objects.put("s3://lake/datasets.toml", text.replace("protects = { users = \"id\" }\n", ""));
    let attention = flip::status_of_all(&lake.env(lake.wire())).await.unwrap().attention;
    let about = attention.iter().filter(|line| line.contains("no inbox protects the table any more")).count();
    assert_eq!(about, 1, "{attention:?}");
}

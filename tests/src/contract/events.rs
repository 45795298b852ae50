//! EventBridge: the events that start a flip or settle an engine run. A rule sends them to a queue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_s3::types::{EventBridgeConfiguration, NotificationConfiguration};
use serde_json::{Value, json};

use super::{Subject, clauses, queries::unload};

clauses! {
    tells_of_an_object
    tells_of_the_end_of_an_unload
}

/// How long to wait for an event. A new rule takes a short time to take effect ("PutRule", Amazon EventBridge API
/// Reference).
const LIMIT: Duration = Duration::from_secs(120);

/// "Object Created": <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>. If the object is a
/// manifest, this event starts a flip.
async fn tells_of_an_object(subject: Arc<Subject>) {
    let cloud = subject.cloud();
    let events = EventBridgeConfiguration::builder().build();
    let on = NotificationConfiguration::builder().event_bridge_configuration(events).build();
    let set = cloud.s3.put_bucket_notification_configuration().bucket(&subject.bucket).notification_configuration(on);
    set.send().await.expect("PutBucketNotificationConfiguration");
    let pattern = json!({
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": { "bucket": { "name": [subject.bucket] }, "object": { "key": [{ "prefix": "events/" }] } },
    });
    let url = cloud.events.subscribe(pattern).await;
    let at = subject.folder("events");
    let started = Instant::now();
    for attempt in 0.. {
        // Events are lost until the rule takes effect, so each attempt writes another object.
        let key = at.key(&format!("a b+日-{attempt}.json"));
        subject.objects.put_new(&key, "{}".into()).await.unwrap();
        if let Some(event) = cloud.events.next(&url, |event| event["detail"]["object"]["key"] == key.key).await {
            let detail = &event["detail"];
            assert_eq!((&detail["object"]["size"], &detail["reason"]), (&json!(2), &json!("PutObject")), "{event}");
            return;
        }
        assert!(started.elapsed() < LIMIT, "no event about {key}");
    }
}

/// "Athena query state change": <https://docs.aws.amazon.com/athena/latest/ug/athena-events.html>. This event settles
/// the run of an `athena` source. It reports UNLOAD as DML.
async fn tells_of_the_end_of_an_unload(subject: Arc<Subject>) {
    let cloud = subject.cloud();
    subject.published("noticed", 3).await;
    let pattern = json!({
        "source": ["aws.athena"],
        "detail-type": ["Athena Query State Change"],
        "detail": { "workgroupName": [cloud.workgroup], "currentState": ["SUCCEEDED"], "statementType": ["DML"] },
    });
    let url = cloud.events.subscribe(pattern).await;
    let started = Instant::now();
    for attempt in 0.. {
        let to = subject.generation("noticed", &format!("green-{attempt}"));
        subject.lines(&unload("SELECT id FROM noticed", &to)).await;
        let ended = |event: &Value| event["detail-type"] == "Athena Query State Change";
        if let Some(event) = cloud.events.next(&url, ended).await {
            let detail = &event["detail"];
            assert!(detail["queryExecutionId"].is_string(), "{event}");
            assert_eq!(detail["currentState"], "SUCCEEDED", "{event}");
            return;
        }
        assert!(started.elapsed() < LIMIT, "no event about UNLOAD to {to}");
    }
}

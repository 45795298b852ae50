//! One dataset that cannot be built does not hold up the others, and its message ends among the dead letters.

use serde_json::json;

use crate::{
    chain::{Chain, users},
    sqs,
};

const GOOD: [&str; 3] = ["one", "two", "three"];
const COLUMNS: &str = r#"columns = { id = "bigint", name = "string", points = "int", joined = "date" }"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_good_ones_go_live_and_the_broken_one_ends_in_the_dead_letters() {
    let entry = |name: &str, source: &str| {
        format!(
            "[datasets.{name}]\nsource = {{ files = {{ location = \"s3://${{BUCKET}}/{source}/\", {COLUMNS} }} }}\n"
        )
    };
    let datasets: String = GOOD.iter().map(|name| entry(name, "good")).collect();
    let chain = Chain::start(&(entry("broken", "bad") + &datasets)).await;
    chain.put("good/users.csv", users(500, 1)).await.unwrap();
    chain.put("bad/users.csv", "id,name,points,joined\nx,y,z,w\n").await.unwrap();

    // The template's 5400 s are also the pause before a retry.
    let queue = &chain.outputs["ExportQueueUrl"];
    let soon = json!({ "QueueUrl": queue, "Attributes": { "VisibilityTimeout": "3" } });
    sqs::call(&chain, "SetQueueAttributes", soon).await;

    chain.ask("export", &json!({})).await;
    for name in GOOD {
        chain.next(name, None).await;
    }
    let dead = &chain.outputs["ExportDeadLettersUrl"];
    let arrived = async || (sqs::depth(&chain, dead).await == (1, 0)).then_some(());
    chain.until("the dead letter", arrived).await;
    let letters = sqs::call(&chain, "ReceiveMessage", json!({ "QueueUrl": dead, "MaxNumberOfMessages": 10 })).await;
    assert_eq!(letters["Messages"][0]["Body"], "{\"dataset\":\"broken\"}");
    assert_eq!(sqs::depth(&chain, queue).await, (0, 0));
    assert_eq!(chain.live("broken").await, None);
    assert_eq!(chain.keys("schemas/broken/").await, Vec::<String>::new());
    let failed = chain.lines("export", "export failed").await;
    assert_eq!(failed.len(), 3, "as often as the template says: {failed:?}");
    assert!(failed.iter().all(|line| line["kind"] == "Input"), "{failed:?}");

    // Of several messages only the failed one is to come again.
    let message = |id: &str, body: &str| {
        let mut event: serde_json::Value =
            serde_json::from_str(include_str!("../../../events/export-sqs.json")).unwrap();
        let mut message = event["Records"][0].take();
        (message["messageId"], message["body"]) = (id.into(), body.into());
        message
    };
    let before = chain.live("one").await;
    let batch = [
        message("bad-1", "{\"dataset\":\"broken\"}"),
        message("good", "{\"dataset\":\"one\"}"),
        message("bad-2", "no JSON"),
        message("bad-3", "{}"),
    ];
    let answer = chain.ask("export", &json!({ "Records": batch })).await;
    let failures = ["bad-1", "bad-2", "bad-3"].map(|id| json!({ "itemIdentifier": id }));
    assert_eq!(answer, json!({ "batchItemFailures": failures }));
    chain.next("one", before.as_ref()).await;
}

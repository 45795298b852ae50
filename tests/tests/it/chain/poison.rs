//! A dataset that can't be built doesn't hold up the others, and its message ends up in the dead-letter queue.

use serde_json::json;

use super::{Chain, sqs, users};

const GOOD: [&str; 3] = ["one", "two", "three"];
const COLUMNS: &str = r#"columns = { id = "bigint", name = "string", points = "int", joined = "date" }"#;

#[tokio::test(flavor = "multi_thread")]
async fn good_datasets_go_live_and_the_broken_one_ends_in_the_dead_letter_queue() {
    let entry = |name: &str, source: &str| {
        format!(
            "[datasets.{name}]\nsource = {{ files = {{ location = \"s3://${{BUCKET}}/{source}/\", {COLUMNS} }} }}\n"
        )
    };
    let datasets: String = GOOD.iter().map(|name| entry(name, "good")).collect();
    let chain = Chain::start(&(entry("broken", "bad") + &datasets)).await;
    chain.put("good/users.csv", users(500, 1)).await.unwrap();
    chain.put("bad/users.csv", "id,name,points,joined\nx,y,z,w\n").await.unwrap();

    let queue = &chain.outputs["ExportQueueUrl"];
    chain.ask("export", &json!({})).await;
    for name in GOOD {
        chain.next(name, None).await;
    }
    let dead = &chain.outputs["ExportDeadLettersUrl"];
    let arrived = async || (sqs::depth(&chain, dead).await == (1, 0)).then_some(());
    chain.until("the dead letter", arrived).await;
    let all = json!({ "QueueUrl": dead, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"] });
    let letters = sqs::call(&chain, "ReceiveMessage", all).await;
    let letter = &letters["Messages"][0];
    assert_eq!(letter["Body"], "{\"dataset\":\"broken\"}");
    let attribute = |name: &str| letter["MessageAttributes"][name]["StringValue"].as_str().unwrap().to_owned();
    assert_eq!(attribute("errorType"), "Input");
    let why = chain.named("s3://${BUCKET}/bad/users.csv: line 2: column \"id\" (bigint): not a whole number");
    assert_eq!(attribute("errorMessage"), why);
    assert_eq!(sqs::depth(&chain, queue).await, (0, 0));
    assert_eq!(chain.live("broken").await, None);
    assert_eq!(chain.left("schemas/broken/").await, Vec::<String>::new());
    let failed = chain.lines("export", "export failed").await;
    assert_eq!(failed.len(), 1, "a retry would fail as well: {failed:?}");
    assert!(failed.iter().all(|line| line["kind"] == "Input"), "{failed:?}");

    // In a batch, the bad messages go to the dead-letter queue, and the good one is processed.
    let message = |id: &str, body: &str| {
        let mut event: serde_json::Value =
            serde_json::from_str(include_str!("../../../../events/export-sqs.json")).unwrap();
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
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    let (waiting, received) = sqs::depth(&chain, dead).await;
    assert_eq!(waiting + received, 4);
    chain.next("one", before.as_ref()).await;
}

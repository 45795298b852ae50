//! What the tests of refreshes share.

use serde_json::{Value, json};
use tests::rig::Rig;
use turntable::environment::Environment;

/// Creates a rig whose dataset has these keys too.
pub fn rig(more: &str) -> Rig {
    Rig::with(more)
}

pub async fn tick(rig: &Rig) {
    rig.export_with(rig.env(), json!({ "action": "tick" })).await.unwrap();
}

/// Takes all messages from the queue.
pub fn queued(rig: &Rig) -> Vec<String> {
    std::mem::take(&mut *rig.queue.0.lock().unwrap())
}

/// Delivers a message. Returns how many messages SQS must redeliver.
pub async fn handle(rig: &Rig, body: &str) -> usize {
    deliver(rig, rig.env(), body).await
}

pub async fn deliver(rig: &Rig, env: Environment, body: &str) -> usize {
    let attributes = json!({ "ApproximateReceiveCount": "1" });
    let message = json!({ "messageId": "m", "receiptHandle": "receipt", "body": body, "attributes": attributes });
    let answer = rig.export_with(env, json!({ "Records": [message] })).await.unwrap();
    let answer: Value = serde_json::to_value(answer).unwrap();
    answer["batchItemFailures"].as_array().unwrap().len()
}

//! What the tests of refreshes share.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tests::{
    rig::Rig,
    wire::{Call, Fate, Wire, wired},
};
use tokio::sync::Notify;
use turntable::{environment::Environment, error::Result};

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

/// Disturbs a later call: the process dies before it or after it, or the call fails once.
pub struct Disturbing {
    left: AtomicI64,
    fate: Fate,
    died: Notify,
}

impl Disturbing {
    /// Disturbs the call after this many others.
    pub fn new(left: i64, fate: Fate) -> Arc<Disturbing> {
        Arc::new(Disturbing { left: AtomicI64::new(left), fate, died: Notify::new() })
    }

    /// Returns how many more calls there may be before the disturbed one. Negative if it has come.
    pub fn left(&self) -> i64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Returns whether so many calls were made that one was disturbed.
    pub fn has_come(&self) -> bool {
        self.left() < 0
    }

    /// Invokes `export`. Returns `None` if the invocation dies.
    pub async fn invoke(self: &Arc<Self>, rig: &Rig, event: Value) -> Option<Result<export::Answer>> {
        let env = wired(&rig.env(), self.clone());
        tokio::select! {
            biased;
            answer = rig.export_with(env, event) => Some(answer),
            () = self.died.notified() => None,
        }
    }
}

#[async_trait]
impl Wire for Disturbing {
    async fn fate(&self, _: Call) -> Fate {
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        if left != 0 {
            return Fate::Arrives;
        }
        if self.fate != Fate::Fails {
            self.died.notify_one();
        }
        self.fate
    }
}

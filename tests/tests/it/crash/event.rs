//! Events, and the runs that they start. A run is an invocation of the function itself, with its ports behind a wire.

use std::{fmt, sync::Arc};

use serde_json::{Value, json};
use tests::{
    rig::Rig,
    wire::{Wire, Wired, wired},
};
use turntable::{
    environment::Environment,
    error::{Error, Result},
    layout::{Generation, Key, TablePaths},
    port::{Engine, Queue},
    publish::Outcome,
};

use crate::engines::support::event_of;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message from the export queue.
    Export,
    /// Athena's or Glue's event about an ended run, with the run's number, counted from 0.
    Ended(usize),
    /// A check of a pending run, which sweep requests.
    Nudged(Generation),
    /// S3's event about a manifest.
    Manifest(Generation),
    /// An operator's request to `flip`.
    RefreshOptions(Value),
    /// Glue's event about a changed table.
    Changed,
    /// Glue's event about a changed table with this name.
    ChangedTable(String),
    /// A message from the optout queue.
    Drop,
    /// `optout`'s schedule.
    Schedule,
    Sweep,
    /// The tick of `export`.
    Tick,
    /// Any other message from the export queue.
    Message(String),
    /// S3's event about a manifest or a flip record of any table.
    Created(Key),
}

impl Event {
    pub fn ask(rig: &Rig, action: &str) -> Event {
        Event::RefreshOptions(json!({ "dataset": rig.table.table, "action": action, "reason": "we look at it" }))
    }

    pub fn back_to(rig: &Rig, generation: &Generation) -> Event {
        Event::RefreshOptions(json!({ "dataset": rig.table.table, "action": "rollback", "generation": generation }))
    }

    pub fn by_hand(rig: &Rig, generation: &Generation) -> Event {
        Event::RefreshOptions(json!({ "dataset": rig.table.table, "generation": generation }))
    }

    pub fn is(&self, action: &str) -> bool {
        matches!(self, Event::RefreshOptions(request) if request["action"] == action)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Manifest(generation) => write!(f, "event of {generation}"),
            Event::Ended(run) => write!(f, "end of run {run}"),
            Event::Message(body) => write!(f, "message {body}"),
            Event::Created(key) => write!(f, "event of {key}"),
            Event::Nudged(generation) => write!(f, "look at {generation}"),
            Event::RefreshOptions(request) => match (&request["action"], &request["generation"]) {
                (Value::Null, generation) => write!(f, "flip to {generation}"),
                (action, Value::Null) => write!(f, "{action}"),
                (action, generation) => write!(f, "{action} to {generation}"),
            },
            other => write!(f, "{other:?}"),
        }
    }
}

/// A run's outcome, if its answer has one, or the error that the run failed with.
pub type Done = Result<Option<Outcome>>;

/// Invokes the function that the event is for, with its ports behind `wire`.
pub async fn run(rig: Arc<Rig>, wire: Arc<dyn Wire>, event: Event) -> Done {
    let env = wired(&rig.env(), wire.clone());
    match event {
        Event::Export => {
            let event = serde_json::from_str(include_str!("../../../../events/export-sqs.json")).unwrap();
            batch(&json!(export(&rig, env, wire, event).await?))
        }
        Event::Ended(run) => export(&rig, env, wire, event_of(&rig, run)).await.map(|_| None),
        Event::Nudged(generation) => {
            let request = json!({ "dataset": rig.table.table, "generation": generation });
            export(&rig, env, wire, request).await.map(|_| None)
        }
        Event::Manifest(generation) => flip(env, rig.event(&generation)).await,
        Event::RefreshOptions(request) => flip(env, request).await,
        Event::Changed => flip(env, changed(&rig.table.table)).await,
        Event::ChangedTable(name) => flip(env, changed(&name)).await,
        Event::Drop => {
            let event = serde_json::from_str(include_str!("../../../../events/optout-sqs.json")).unwrap();
            batch(&json!(optout(env, event).await?))
        }
        Event::Tick => export(&rig, env, wire, json!({ "action": "tick" })).await.map(|_| None),
        Event::Message(body) => {
            let attributes = json!({ "ApproximateReceiveCount": "1" });
            let message = json!({ "messageId": "m", "receiptHandle": "r", "body": body, "attributes": attributes });
            batch(&json!(export(&rig, env, wire, json!({ "Records": [message] })).await?))
        }
        Event::Created(key) if TablePaths::parse_manifest(&key).is_some() => flip(env, created(&key)).await,
        Event::Created(key) => export(&rig, env, wire, created(&key)).await.map(|_| None),
        Event::Schedule => optout(env, json!({})).await.map(|_| None),
        Event::Sweep => {
            let sweep = sweep::Sweep { env, queue: queue(&rig, wire), limits: sweep::Limits::default() };
            sweep::handle(sweep, json!({})).await.map(|_| None)
        }
    }
}

/// Returns S3's event about a new object.
pub fn created(key: &Key) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/flip-s3.json")).unwrap();
    event["detail"]["bucket"]["name"] = json!(key.bucket);
    event["detail"]["object"]["key"] = json!(key.key);
    event
}

/// Returns Glue's event about a changed table.
fn changed(table: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/flip-glue.json")).unwrap();
    event["detail"]["tableName"] = json!(table);
    event
}

fn queue(rig: &Rig, wire: Arc<dyn Wire>) -> Arc<dyn Queue> {
    let port: Arc<dyn Queue> = rig.queue.clone();
    Arc::new(Wired { wire, port })
}

async fn export(rig: &Rig, env: Environment, wire: Arc<dyn Wire>, event: Value) -> Result<export::Answer> {
    let port: Arc<dyn Engine> = rig.engine.clone();
    let engine = Arc::new(Wired { wire: wire.clone(), port });
    let export = export::Export { env, queue: queue(rig, wire), engine, secrets: None, iam: None, deadline: None };
    export::handle(export, event).await
}

async fn flip(env: Environment, event: Value) -> Done {
    flip::handle(env, event).await.map(|answer| Some(answer.outcome))
}

async fn optout(env: Environment, event: Value) -> Result<optout::Answer> {
    optout::handle(optout::Optout { env, secrets: None, iam: None, deadline: None }, event).await
}

/// Returns an error if the answer lists a failed message, because SQS redelivers that.
fn batch(answer: &Value) -> Done {
    match answer["batchItemFailures"].as_array() {
        Some(failures) if failures.is_empty() => Ok(None),
        _ => Err(Error::unavailable("the message comes again")),
    }
}

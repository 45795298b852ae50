//! Parses events into requests. The answers are in `turntable::answer`.

mod batch;
mod optout;
mod run;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use turntable_core::{
    error::{Error, Result},
    layout::{Generation, Key, TableName, TablePaths},
    record::EngineRun,
};

pub use batch::{SqsBatchResponse, redeliver};
pub use optout::Optout;

/// A request to `export`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    /// Queue one message for each dataset, or for each named one.
    Fan(Option<Vec<String>>),
    /// Export one dataset.
    One(String),
    /// Handle the messages of the queue.
    Queue(Vec<Message>),
    /// Settle an engine's run that has ended.
    Ended(EngineRun),
    /// Check a pending run of an engine, and settle it if it has ended.
    Pending(String, Generation),
}

impl Export {
    pub fn parse(event: &Value) -> Result<Export> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Request {
            #[serde(default, alias = "datasets")]
            dataset: Option<OneOrMany>,
            #[serde(default)]
            generation: Option<Generation>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        if let Some(messages) = queue(event)? {
            return Ok(Export::Queue(messages));
        }
        if is_scheduled(event) {
            return Ok(Export::Fan(None));
        }
        if let Some(run) = run::ended(event)? {
            return Ok(Export::Ended(run));
        }
        let request: Request = by_hand(event, "{} or {\"dataset\": NAME or [NAME, …]}")?;
        Ok(match (request.dataset, request.generation) {
            (Some(OneOrMany::One(name)), Some(generation)) => Export::Pending(name, generation),
            (_, Some(_)) => {
                return Err(Error::input("a generation belongs to one dataset: name exactly one in \"dataset\""));
            }
            (None, None) => Export::Fan(None),
            (Some(OneOrMany::One(name)), None) => Export::One(name),
            (Some(OneOrMany::Many(names)), None) => Export::Fan(Some(names)),
        })
    }
}

/// A request to `flip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flip {
    /// A manifest was written: flip its generation.
    Manifest(TablePaths, Generation),
    /// An operator wants this generation live.
    Candidate {
        dataset: String,
        generation: Generation,
    },
    Rollback {
        dataset: String,
        generation: Option<Generation>,
        reason: Option<String>,
    },
    Hold {
        dataset: String,
        reason: String,
    },
    Release {
        dataset: String,
        reason: Option<String>,
    },
    Status {
        dataset: String,
    },
    /// Glue reports that a table has changed. Turntable may have changed it itself.
    Changed(TableName),
}

impl Flip {
    /// Returns the generation that the request names.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Flip::Manifest(_, generation) | Flip::Candidate { generation, .. } => Some(*generation),
            Flip::Rollback { generation, .. } => *generation,
            Flip::Hold { .. } | Flip::Release { .. } | Flip::Status { .. } | Flip::Changed(_) => None,
        }
    }

    pub fn parse(event: &Value) -> Result<Flip> {
        const EXPECTED: &str = "{\"dataset\", \"generation\"} or {\"dataset\", \"action\": rollback, hold, release or status, \"reason\"?, \"generation\"?}; {\"action\": \"status\"} is for all datasets";
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Request {
            dataset: String,
            #[serde(default)]
            action: Option<String>,
            #[serde(default)]
            generation: Option<Generation>,
            #[serde(default)]
            reason: Option<String>,
        }
        if let Some(table) = changed_table(event)? {
            return Ok(Flip::Changed(table));
        }
        if let Some(key) = created_object(event)? {
            let (paths, generation) = TablePaths::parse_manifest(&key).ok_or_else(|| {
                Error::input(format!("{key} is not a manifest: expected …/TABLE/_manifests/COLOUR-ULID.json"))
            })?;
            return Ok(Flip::Manifest(paths, generation));
        }
        let Request { dataset, action, generation, reason } = by_hand(event, EXPECTED)?;
        let unexpected = |field: &str| {
            Error::input(format!("the request has a {field}, but this action takes none: expected {EXPECTED}"))
        };
        match action.as_deref() {
            None if reason.is_some() => Err(unexpected("reason")),
            None => {
                let generation = generation.ok_or_else(|| {
                    Error::input(format!("the request names neither generation nor action: expected {EXPECTED}"))
                })?;
                Ok(Flip::Candidate { dataset, generation })
            }
            Some("rollback") => Ok(Flip::Rollback { dataset, generation, reason }),
            Some("hold" | "release" | "status") if generation.is_some() => Err(unexpected("generation")),
            Some("hold") => {
                let reason = reason.filter(|reason| !reason.trim().is_empty());
                let reason = reason
                    .ok_or_else(|| Error::input("a hold needs a reason, so that others know why: add \"reason\""))?;
                Ok(Flip::Hold { dataset, reason })
            }
            Some("release") => Ok(Flip::Release { dataset, reason }),
            Some("status") if reason.is_some() => Err(unexpected("reason")),
            Some("status") => Ok(Flip::Status { dataset }),
            Some(other) => {
                Err(Error::input(format!("unknown action {other:?}: expected one of rollback, hold, release, status")))
            }
        }
    }
}

/// Checks whether a request to `flip` is for the status of all datasets.
pub fn is_about_all(event: &Value) -> bool {
    *event == serde_json::json!({ "action": "status" })
}

/// A request to `sweep`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// `None` for all datasets.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Reports what would be deleted, and deletes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Sweep {
    pub fn parse(event: &Value) -> Result<Sweep> {
        if is_scheduled(event) {
            return Ok(Sweep { dataset: None, dry_run: false });
        }
        by_hand(event, "{} or {\"dataset\": NAME, \"dry_run\"?: true}")
    }
}

/// Checks whether a scheduled EventBridge rule sent the event. EventBridge Scheduler sends its configured input
/// instead.
fn is_scheduled(event: &Value) -> bool {
    event.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event")
}

/// A message of an SQS queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub body: String,
    /// The receipt handle, which names this delivery in calls to SQS.
    pub receipt: String,
    /// How many times the message was received, including this time.
    pub received: u32,
}

/// Parses the event in a message's body.
pub fn message(body: &str) -> Result<Value> {
    serde_json::from_str(body).map_err(|fault| Error::input("the message's body is not JSON").caused_by(fault))
}

/// Parses a request that an operator or a program sent directly.
fn by_hand<T: DeserializeOwned>(event: &Value, expected: &str) -> Result<T> {
    if !event.is_object() {
        return Err(Error::input(format!("the request is not a JSON object: expected {expected}")));
    }
    serde_json::from_value(event.clone())
        .map_err(|fault| Error::input(format!("invalid request: expected {expected}")).caused_by(fault))
}

/// Returns the messages of an SQS event, or `None` for any other event.
fn queue(event: &Value) -> Result<Option<Vec<Message>>> {
    if event.get("Records").is_none() {
        return Ok(None);
    }
    let event: aws_lambda_events::sqs::SqsEvent = serde_json::from_value(event.clone())
        .map_err(|fault| Error::input("the event has Records but is not an SQS event").caused_by(fault))?;
    let message = |message: aws_lambda_events::sqs::SqsMessage| {
        let id = message.message_id.ok_or_else(|| Error::input("a message in the SQS event has no messageId"))?;
        let received = message.attributes.get("ApproximateReceiveCount").and_then(|times| times.parse().ok());
        Ok(Message {
            id,
            body: message.body.unwrap_or_default(),
            receipt: message.receipt_handle.unwrap_or_default(),
            received: received.unwrap_or(1),
        })
    };
    event.records.into_iter().map(message).collect::<Result<Vec<_>>>().map(Some)
}

/// Returns the table of a "Glue Data Catalog Table State Change" event, or `None` for any other event.
fn changed_table(event: &Value) -> Result<Option<TableName>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Detail {
        database_name: String,
        table_name: String,
    }
    if event.get("detail-type").and_then(Value::as_str) != Some("Glue Data Catalog Table State Change") {
        return Ok(None);
    }
    let detail = event.get("detail").cloned().unwrap_or_default();
    let Detail { database_name, table_name } = serde_json::from_value(detail)
        .map_err(|fault| Error::input("the Glue event lacks databaseName or tableName").caused_by(fault))?;
    Ok(Some(TableName { database: database_name, table: table_name }))
}

/// Returns the object of an S3 "Object Created" event through EventBridge, or `None` for any other event.
fn created_object(event: &Value) -> Result<Option<Key>> {
    #[derive(Serialize, Deserialize)]
    struct Detail {
        bucket: Bucket,
        object: Object,
    }
    #[derive(Serialize, Deserialize)]
    struct Bucket {
        name: String,
    }
    #[derive(Serialize, Deserialize)]
    struct Object {
        key: String,
    }
    if event.get("detail-type").is_none() {
        return Ok(None);
    }
    let bad =
        |fault| Error::input("the event is not an S3 \"Object Created\" event through EventBridge").caused_by(fault);
    let event: aws_lambda_events::eventbridge::EventBridgeEvent<Detail> =
        serde_json::from_value(event.clone()).map_err(bad)?;
    Ok(Some(Key { bucket: event.detail.bucket.name, key: event.detail.object.key }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_of_malformed_requests_say_what_was_expected() {
        let export = |event: Value| Export::parse(&event).unwrap_err().report();
        let flip = |event: Value| Flip::parse(&event).unwrap_err().report();
        assert_eq!(
            export(json!({"datset": "users"})),
            "invalid request: expected {} or {\"dataset\": NAME or [NAME, …]}: unknown field `datset`, expected one of `dataset`, `datasets`, `generation`"
        );
        assert_eq!(
            flip(json!({"dataset": "users", "action": "hold"})),
            "a hold needs a reason, so that others know why: add \"reason\""
        );
        assert_eq!(
            flip(json!({"dataset": "users", "action": "rolback"})),
            "unknown action \"rolback\": expected one of rollback, hold, release, status"
        );
        assert!(flip(json!({"dataset": "users", "generation": "green-1"})).contains("\"green-1\" is not a generation"));
        assert!(flip(json!({"detail-type": "Object Created"})).starts_with("the event is not an S3"));
        let sweep = |event: Value| Sweep::parse(&event).unwrap_err().report();
        assert_eq!(
            sweep(json!({"dryrun": true})),
            "invalid request: expected {} or {\"dataset\": NAME, \"dry_run\"?: true}: unknown field `dryrun`, expected `dataset` or `dry_run`"
        );
        for nothing in [json!(null), json!([]), json!("x"), json!({"Records": 1})] {
            assert!(Export::parse(&nothing).is_err() && Flip::parse(&nothing).is_err(), "{nothing}");
        }
    }
}

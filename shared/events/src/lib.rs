//! Events and requests: how what Lambda receives becomes a request. The answers are in `turntable::answer`.

mod optout;
mod run;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use turntable_core::{
    error::{Error, Result},
    layout::{Generation, Home, Key, TableName},
    record::Run,
};

pub use optout::Optout;

/// What `export` is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    /// Hand every dataset, or those named, to invocations of their own.
    Fan(Option<Vec<String>>),
    One(String),
    Queue(Vec<Message>),
    /// An engine's run has come to an end.
    Ended(Run),
    /// Look at an engine's run that is pending.
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
            (_, Some(_)) => return Err(Error::input("a generation is of one dataset: name it")),
            (None, None) => Export::Fan(None),
            (Some(OneOrMany::One(name)), None) => Export::One(name),
            (Some(OneOrMany::Many(names)), None) => Export::Fan(Some(names)),
        })
    }
}

/// What `flip` is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flip {
    /// A manifest was written.
    Manifest(Home, Generation),
    /// By hand.
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
    /// Somebody, who may be we, has changed a table.
    Changed(TableName),
}

impl Flip {
    /// The generation that it speaks of.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Flip::Manifest(_, generation) | Flip::Candidate { generation, .. } => Some(*generation),
            Flip::Rollback { generation, .. } => *generation,
            Flip::Hold { .. } | Flip::Release { .. } | Flip::Status { .. } | Flip::Changed(_) => None,
        }
    }

    pub fn parse(event: &Value) -> Result<Flip> {
        const EXPECTED: &str = "{\"dataset\", \"generation\"} or {\"dataset\", \"action\": rollback, hold, release or status, \"reason\"?, \"generation\"?}; {\"action\": \"status\"} is about all";
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
            let (home, generation) = Home::parse_manifest(&key).ok_or_else(|| {
                Error::input(format!("{key} is no manifest: expected …/TABLE/_manifests/COLOUR-ULID.json"))
            })?;
            return Ok(Flip::Manifest(home, generation));
        }
        let Request { dataset, action, generation, reason } = by_hand(event, EXPECTED)?;
        let unexpected = |field: &str| {
            Error::input(format!("the request has a {field} that this action does not take: expected {EXPECTED}"))
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
                let reason =
                    reason.ok_or_else(|| Error::input("a hold needs a reason: whoever finds it must know why"))?;
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

/// Whether `flip` is asked how all datasets are.
pub fn is_about_all(event: &Value) -> bool {
    *event == serde_json::json!({ "action": "status" })
}

/// What `sweep` is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// `None`: all.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Only says what would go.
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

/// Whether a rule's schedule has sent it; EventBridge Scheduler sends the input that it was given.
fn is_scheduled(event: &Value) -> bool {
    event.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event")
}

/// A message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub body: String,
    /// What SQS wants to hear of it by.
    pub receipt: String,
    /// How often it was received, this time included.
    pub received: u32,
}

/// The event that a message of the queue holds.
pub fn message(body: &str) -> Result<Value> {
    serde_json::from_str(body).map_err(|fault| Error::input("a message's body is not JSON").caused_by(fault))
}

fn by_hand<T: DeserializeOwned>(event: &Value, expected: &str) -> Result<T> {
    if !event.is_object() {
        return Err(Error::input(format!("the request is no JSON object: expected {expected}")));
    }
    serde_json::from_value(event.clone())
        .map_err(|fault| Error::input(format!("the request is not understood: expected {expected}")).caused_by(fault))
}

/// The messages of an SQS event; `None` where it is no such event.
fn queue(event: &Value) -> Result<Option<Vec<Message>>> {
    if event.get("Records").is_none() {
        return Ok(None);
    }
    let event: aws_lambda_events::sqs::SqsEvent = serde_json::from_value(event.clone())
        .map_err(|fault| Error::input("the event has Records, but is not of SQS").caused_by(fault))?;
    let message = |message: aws_lambda_events::sqs::SqsMessage| {
        let id = message.message_id.ok_or_else(|| Error::input("a message of the queue has no messageId"))?;
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

/// The table that a "Glue Data Catalog Table State Change" event speaks of; `None` where it is no such event.
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
        .map_err(|fault| Error::input("the event of Glue names no databaseName and tableName").caused_by(fault))?;
    Ok(Some(TableName { database: database_name, table: table_name }))
}

/// The object that an "Object Created" event of S3 through EventBridge speaks of; `None` where it is no such event.
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
    let bad = |fault| Error::input("the event is not S3's \"Object Created\" through EventBridge").caused_by(fault);
    let event: aws_lambda_events::eventbridge::EventBridgeEvent<Detail> =
        serde_json::from_value(event.clone()).map_err(bad)?;
    Ok(Some(Key { bucket: event.detail.bucket.name, key: event.detail.object.key }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_malformed_says_what_is_expected() {
        let export = |event: Value| Export::parse(&event).unwrap_err().report();
        let flip = |event: Value| Flip::parse(&event).unwrap_err().report();
        assert_eq!(
            export(json!({"datset": "users"})),
            "the request is not understood: expected {} or {\"dataset\": NAME or [NAME, …]}: unknown field `datset`, expected one of `dataset`, `datasets`, `generation`"
        );
        assert_eq!(
            flip(json!({"dataset": "users", "action": "hold"})),
            "a hold needs a reason: whoever finds it must know why"
        );
        assert_eq!(
            flip(json!({"dataset": "users", "action": "rolback"})),
            "unknown action \"rolback\": expected one of rollback, hold, release, status"
        );
        assert!(flip(json!({"dataset": "users", "generation": "green-1"})).contains("\"green-1\" is not a generation"));
        assert!(flip(json!({"detail-type": "Object Created"})).starts_with("the event is not S3's"));
        let sweep = |event: Value| Sweep::parse(&event).unwrap_err().report();
        assert_eq!(
            sweep(json!({"dryrun": true})),
            "the request is not understood: expected {} or {\"dataset\": NAME, \"dry_run\"?: true}: unknown field `dryrun`, expected `dataset` or `dry_run`"
        );
        for nothing in [json!(null), json!([]), json!("x"), json!({"Records": 1})] {
            assert!(Export::parse(&nothing).is_err() && Flip::parse(&nothing).is_err(), "{nothing}");
        }
    }
}

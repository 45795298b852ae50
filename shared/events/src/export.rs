//! Parses events into requests to `export`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use turntable_core::{
    error::{Error, Result},
    layout::{Generation, Key, TablePaths},
    record::EngineRun,
};

use crate::{
    event::{by_hand, created_object, is_scheduled},
    message::{Message, message as body, queue},
    run,
};

/// A request to `export`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    /// Queue one message for each of the named datasets. Without a list, queue one for every dataset that the stack's
    /// schedule refreshes.
    Fan(Option<Vec<String>>),
    /// Export one dataset.
    One(String),
    /// Export one dataset for this due time, unless this has already been done.
    Due(String, Timestamp),
    /// Export one dataset, if its inputs have flipped since it was built.
    Inputs(String),
    /// Queue the datasets that are built from this table, which has flipped. The key is that of the flip's record.
    Flipped(TablePaths, Key),
    /// Export one dataset, if its source has objects that it wasn't built from.
    Changed(String),
    /// Queue what has become due by the datasets' own schedules.
    Tick,
    /// Handle messages from the queue.
    Queue(Vec<Message>),
    /// Settle an engine run that has ended.
    Ended(EngineRun),
    /// Check a dataset's pending engine run, and settle it if it has ended.
    Pending(String, Generation),
}

impl Export {
    /// Returns the object that was put, if the message reports a put. `None` for other messages.
    pub fn put(message: &Message) -> Option<Key> {
        created_object(&body(&message.body).ok()?).ok()?
    }

    pub fn parse(event: &Value) -> Result<Export> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Request {
            #[serde(default, alias = "datasets")]
            dataset: Option<OneOrMany>,
            #[serde(default)]
            generation: Option<Generation>,
            #[serde(default)]
            due: Option<Timestamp>,
            #[serde(default)]
            inputs: bool,
            #[serde(default)]
            put: bool,
            #[serde(default)]
            action: Option<Action>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Action {
            Tick,
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
        if let Some(key) = created_object(event)? {
            let paths = TablePaths::of_flip(&key).ok_or_else(|| {
                Error::input(format!("{key} is not a flip's record: expected …/TABLE/_flips/ULID.json"))
            })?;
            return Ok(Export::Flipped(paths, key));
        }
        let request: Request = by_hand(event, "{} or {\"dataset\": NAME or [NAME, …]}")?;
        if let Some(Action::Tick) = request.action {
            return match request {
                Request { dataset: None, generation: None, due: None, inputs: false, put: false, .. } => {
                    Ok(Export::Tick)
                }
                _ => Err(Error::input("the request is a tick, which is for all datasets: send only the action")),
            };
        }
        if request.inputs || request.put {
            return match (request.dataset, request.generation, request.due) {
                (Some(OneOrMany::One(name)), None, None) if !request.put => Ok(Export::Inputs(name)),
                (Some(OneOrMany::One(name)), None, None) if !request.inputs => Ok(Export::Changed(name)),
                _ => Err(Error::input(
                    "inputs and put apply to one dataset: name exactly one in \"dataset\", \
                     and send either \"inputs\" or \"put\"",
                )),
            };
        }
        if let Some(due) = request.due {
            return match (request.dataset, request.generation) {
                (Some(OneOrMany::One(name)), None) => Ok(Export::Due(name, due)),
                _ => Err(Error::input(
                    "the request has a due time, which belongs to one dataset: name exactly one in \"dataset\"",
                )),
            };
        }
        Ok(match (request.dataset, request.generation) {
            (Some(OneOrMany::One(name)), Some(generation)) => Export::Pending(name, generation),
            (_, Some(_)) => {
                return Err(Error::input(
                    "the request names a generation, which belongs to one dataset: name exactly one in \"dataset\"",
                ));
            }
            (None, None) => Export::Fan(None),
            (Some(OneOrMany::One(name)), None) => Export::One(name),
            (Some(OneOrMany::Many(names)), None) => Export::Fan(Some(names)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_say_what_was_expected() {
        let export = |event: Value| Export::parse(&event).unwrap_err().report();
        assert_eq!(
            export(json!({"datset": "users"})),
            "invalid request: expected {} or {\"dataset\": NAME or [NAME, …]}: unknown field `datset`, expected one of `dataset`, `datasets`, `generation`, `due`, `inputs`, `put`, `action`"
        );
        for (both, error) in [
            (json!({"action": "tick", "dataset": "users"}), "the request is a tick"),
            (json!({"dataset": ["users"], "due": "2026-11-30T02:00:00Z"}), "the request has a due time"),
            (json!({"due": "2026-11-30T02:00:00Z"}), "the request has a due time"),
            (json!({"dataset": ["users"], "inputs": true}), "inputs and put apply to one dataset"),
            (json!({"dataset": ["users"], "put": true}), "inputs and put apply to one dataset"),
            (json!({"dataset": "users", "inputs": true, "put": true}), "inputs and put apply to one dataset"),
        ] {
            assert!(export(both.clone()).starts_with(error), "{both}");
        }
        for nothing in [json!(null), json!([]), json!("x"), json!({"Records": 1})] {
            assert!(Export::parse(&nothing).is_err(), "{nothing}");
        }
    }
}

//! Parses events into requests to `optout`.

use serde::Deserialize;
use serde_json::Value;
use turntable_core::{
    config::{Config, Dataset, Source},
    error::{Error, Result},
    layout::{Key, is_hidden},
};

use crate::{
    event::{by_hand, created_object, is_scheduled},
    message::{Message, message, queue},
};

/// A request to `optout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Optout {
    /// Refresh every dataset that has an inbox. The schedule sends this.
    All,
    /// Refresh one dataset. If `reconcile` is true, also merge its whole `reconcile` source. `max_returning` is the
    /// number of people whom an operator lets this refresh opt back in.
    One { dataset: String, reconcile: bool, max_returning: Option<u64> },
    /// Refresh every dataset in whose inbox this object was created. There may be none.
    Put(Key),
    /// Handle messages from the queue.
    Queue(Vec<Message>),
}

impl Optout {
    pub fn parse(event: &Value) -> Result<Optout> {
        const EXPECTED: &str = "{} or {\"dataset\": NAME, \"action\"?: \"reconcile\", \"max_returning\"?: PEOPLE}";
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Request {
            #[serde(default)]
            dataset: Option<String>,
            #[serde(default)]
            action: Option<String>,
            #[serde(default)]
            max_returning: Option<u64>,
        }
        if let Some(messages) = queue(event)? {
            return Ok(Optout::Queue(messages));
        }
        if is_scheduled(event) {
            return Ok(Optout::All);
        }
        if let Some(key) = created_object(event)? {
            return Ok(Optout::Put(key));
        }
        let Request { dataset, action, max_returning } = by_hand(event, EXPECTED)?;
        match (dataset, action.as_deref()) {
            (None, None) if max_returning.is_some() => {
                Err(Error::input(format!("max_returning needs a dataset: expected {EXPECTED}")))
            }
            (None, None) => Ok(Optout::All),
            (Some(dataset), None) => Ok(Optout::One { dataset, reconcile: false, max_returning }),
            (Some(dataset), Some("reconcile")) => Ok(Optout::One { dataset, reconcile: true, max_returning }),
            (None, Some(action)) => {
                Err(Error::input(format!("the action {action:?} needs a dataset: expected {EXPECTED}")))
            }
            (Some(_), Some(other)) => {
                Err(Error::input(format!("unknown action {other:?}: expected \"reconcile\", or no action")))
            }
        }
    }

    /// Parses the body of a queue message. Fails if the body is an SQS event itself.
    pub fn parse_message(body: &str) -> Result<Optout> {
        match Optout::parse(&message(body)?)? {
            Optout::Queue(_) => {
                Err(Error::input("the SQS message's body is itself an SQS event: send a request or an S3 event"))
            }
            request => Ok(request),
        }
    }

    /// Returns the datasets to refresh. The list is empty if the created object is hidden, such as one in `_rejected/`.
    /// Fails if the request names an unknown dataset, or if the object is in no inbox, because then nothing would ever
    /// read it.
    pub fn datasets<'a>(&self, config: &'a Config) -> Result<Vec<&'a Dataset>> {
        match self {
            Optout::All | Optout::Queue(_) => Ok(config.datasets().filter(|dataset| dataset.is_inbox()).collect()),
            Optout::One { dataset, .. } => Ok(vec![config.dataset(dataset)?]),
            Optout::Put(key) => {
                let datasets: Vec<&Dataset> = config.datasets().filter(|dataset| has_drop(dataset, key)).collect();
                if let Some(broken) =
                    config.known().find(|dataset| has_drop(dataset, key)).filter(|_| datasets.is_empty())
                {
                    // The error names the entry's faults.
                    return config.dataset(&broken.name).map(|dataset| vec![dataset]);
                }
                if datasets.is_empty() && !is_hidden(&key.key) {
                    let inboxes =
                        config.datasets().filter_map(Dataset::optouts).map(|optouts| optouts.inbox.to_string());
                    return Err(Error::config(format!(
                        "{key} is not in any inbox in datasets.toml, so its opt-outs have no effect: move it into one of \
                         {}, or add its inbox to datasets.toml",
                        inboxes.collect::<Vec<_>>().join(", ")
                    )));
                }
                Ok(datasets)
            }
        }
    }
}

/// Returns whether the key is a drop in the dataset's inbox.
fn has_drop(dataset: &Dataset, key: &Key) -> bool {
    let Source::Inbox(inbox) = &dataset.source else { return false };
    let name = key.key.strip_prefix(&inbox.location.prefix).filter(|_| key.bucket == inbox.location.bucket);
    name.is_some_and(|name| !is_hidden(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parses_events_into_requests() {
        let parse = |event: Value| Optout::parse(&event);
        assert_eq!(parse(json!({})).unwrap(), Optout::All);
        assert_eq!(parse(json!({"detail-type": "Scheduled Event", "source": "aws.events"})).unwrap(), Optout::All);
        let one = |reconcile| Optout::One { dataset: "o".into(), reconcile, max_returning: None };
        assert_eq!(parse(json!({"dataset": "o"})).unwrap(), one(false));
        assert_eq!(parse(json!({"dataset": "o", "action": "reconcile"})).unwrap(), one(true));
        assert_eq!(
            parse(json!({"dataset": "o", "action": "rollback"})).unwrap_err().report(),
            "unknown action \"rollback\": expected \"reconcile\", or no action"
        );
        let allowed = Optout::One { dataset: "o".into(), reconcile: false, max_returning: Some(7) };
        assert_eq!(parse(json!({"dataset": "o", "max_returning": 7})).unwrap(), allowed);
        assert!(parse(json!({"max_returning": 7})).is_err());
        assert!(parse(json!({"action": "reconcile"})).is_err());
        for bad in [json!(null), json!([]), json!({"Records": 1}), json!({"dataset": 1}), json!({"detail-type": 1})] {
            assert!(parse(bad).is_err());
        }
        for bad in ["", "{", "[]", r#"{"Records":[]}"#] {
            assert!(Optout::parse_message(bad).is_err());
        }
    }
}

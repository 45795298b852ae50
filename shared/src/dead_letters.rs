//! Reads the dead-letter queues without removing any message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use turntable_core::{
    config::Config,
    error::Result,
    port::{DeadLetter, DeadLetterQueue},
};
use turntable_events::{Export, Flip, Optout, Sweep};

use crate::environment::Environment;

/// A summary of one dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// The function that failed on these messages and events.
    pub function: String,
    /// The number of messages, as SQS estimates it.
    pub messages: u64,
    /// The number of messages that were read, at most 10. `datasets`, `oldest` and `error` cover only these.
    pub seen: u64,
    /// The number of messages about each dataset. Messages that aren't about a dataset aren't counted.
    pub datasets: BTreeMap<String, u64>,
    /// When the oldest message was sent. `None` if this is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// The error from one of the messages. `None` if no message has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The maximum number of characters to show from an error.
const MAX_ERROR_CHARS: usize = 300;

/// Reads all dead-letter queues. Returns a summary of each queue that has messages.
pub async fn look(env: &Environment, config: &Config) -> Result<Vec<DeadLetters>> {
    let Some(queues) = &env.dead_letters else { return Ok(Vec::new()) };
    let found = queues.look().await?;
    // SQS's estimated count may lag behind the messages that it returns.
    let full = found.into_iter().filter(|queue| queue.messages > 0 || !queue.sample.is_empty());
    Ok(full.map(|queue| DeadLetters::of(queue, config)).collect())
}

impl DeadLetters {
    fn of(queue: DeadLetterQueue, config: &Config) -> DeadLetters {
        let DeadLetterQueue { function, messages, sample } = queue;
        let mut datasets = BTreeMap::new();
        for name in sample.iter().filter_map(|letter| dataset_of(&function, &letter.body, config)) {
            *datasets.entry(name).or_default() += 1;
        }
        DeadLetters {
            messages: messages.max(sample.len() as u64),
            seen: sample.len() as u64,
            datasets,
            oldest: sample.iter().filter_map(|letter| letter.sent).min(),
            error: sample.iter().find_map(error_of),
            function,
        }
    }

    /// Returns the message about the queue: how many dead letters there are, why, and what to do.
    pub fn message(&self) -> String {
        let DeadLetters { function, messages, seen, datasets, error, .. } = self;
        let letters = if *messages == 1 { "1 dead letter" } else { &format!("{messages} dead letters") };
        let about: Vec<String> = datasets.iter().map(|(name, letters)| format!("{name}: {letters}")).collect();
        let about = match (about.is_empty(), seen < messages) {
            (true, _) => String::new(),
            (false, false) => format!(" ({})", about.join(", ")),
            (false, true) => format!(" (among {seen} of them, {})", about.join(", ")),
        };
        let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let again = match datasets.keys().next() {
            Some(dataset) if function != "flip" => format!("invoke {function} with {{\"dataset\":{dataset:?}}}"),
            _ => format!("invoke {function} with each message's body"),
        };
        format!("{function}: {letters}{about}{error}. Remove the cause, {again}, then delete each message")
    }
}

/// Returns the dataset that a message is about, if any. The message is a request, an event, or Lambda's record of a
/// failed invocation, which contains one of them.
fn dataset_of(function: &str, body: &str, config: &Config) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let event = body.get("requestPayload").unwrap_or(&body);
    match function {
        "export" => match Export::parse(event).ok()? {
            Export::One(name) | Export::Pending(name, _) => Some(name),
            _ => None,
        },
        "optout" => match Optout::parse(event).ok()? {
            Optout::One { dataset, .. } => Some(dataset),
            put @ Optout::Put(_) => put.datasets(config).ok()?.first().map(|dataset| dataset.name.clone()),
            _ => None,
        },
        "flip" => match Flip::parse(event).ok()? {
            Flip::Manifest(paths, _) => config.dataset_at(&paths).ok().map(|dataset| dataset.name.clone()),
            Flip::Changed(table) => config.dataset_of(&table).map(|dataset| dataset.name.clone()),
            _ => event.get("dataset").and_then(Value::as_str).map(str::to_owned),
        },
        _ => Sweep::parse(event).ok()?.dataset,
    }
}

/// Returns a message's error: the attribute that Turntable adds, or a field of Lambda's record.
fn error_of(letter: &DeadLetter) -> Option<String> {
    let reported = || {
        let body: Value = serde_json::from_str(&letter.body).ok()?;
        body.pointer("/responsePayload/errorMessage")?.as_str().map(str::to_owned)
    };
    let error = letter.error.clone().or_else(reported)?;
    Some(match error.char_indices().nth(MAX_ERROR_CHARS) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONFIG: &str = r#"
        [defaults]
        database = "dmp"
        location = "s3://lake/schemas"
        [datasets.users]
        source.files = { location = "s3://lake/in/", columns = { id = "bigint" } }
        [datasets.optouts]
        source.inbox = { location = "s3://lake/inbox/optouts", key = ["id"], columns = { id = "bigint" } }
    "#;

    fn letter(body: &Value, error: Option<&str>) -> DeadLetter {
        DeadLetter { body: body.to_string(), error: error.map(Into::into), sent: Timestamp::from_second(7).ok() }
    }

    fn put(key: &str) -> Value {
        json!({
            "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created",
            "source": "aws.s3", "account": "123456789012", "time": "2024-11-21T02:00:41Z", "region": "eu-west-1",
            "resources": [], "detail": { "bucket": { "name": "lake" }, "object": { "key": key } },
        })
    }

    #[test]
    fn messages_are_counted_by_dataset_whatever_their_form() {
        let config = Config::parse("datasets.toml", CONFIG).unwrap();
        let look = |function: &str, messages: u64, sample: Vec<DeadLetter>| {
            DeadLetters::of(DeadLetterQueue { function: function.into(), messages, sample }, &config)
        };
        let manifest = put("schemas/users/_manifests/green-01JDA00000000000000000000B.json");
        let failed =
            |event: Value| json!({ "requestPayload": event, "responsePayload": { "errorMessage": "it broke" } });
        for (function, body, expected) in [
            ("export", json!({ "dataset": "users" }), Some("users")),
            ("export", json!({}), None),
            ("flip", failed(manifest), Some("users")),
            ("flip", json!({ "dataset": "users", "action": "rollback" }), Some("users")),
            ("optout", put("inbox/optouts/a.csv"), Some("optouts")),
            ("optout", put("inbox/optout/a.csv"), None),
            ("sweep", failed(json!({ "dataset": "users" })), Some("users")),
            ("sweep", json!("no request"), None),
        ] {
            let found = look(function, 1, vec![letter(&body, None)]);
            assert_eq!(found.datasets.keys().next().map(String::as_str), expected, "{function} {body}");
            assert_eq!(found.error.is_some(), body.get("responsePayload").is_some());
        }
        let users = || letter(&json!({ "dataset": "users" }), Some("the source is gone"));
        let all = look("export", 2, vec![users(), users()]);
        assert_eq!(
            all.message(),
            "export: 2 dead letters (users: 2): the source is gone. Remove the cause, invoke export with \
             {\"dataset\":\"users\"}, then delete each message"
        );
        assert!(look("export", 30, vec![users()]).message().contains("30 dead letters (among 1 of them, users: 1): "));
        assert_eq!(all.oldest, Timestamp::from_second(7).ok());
    }
}

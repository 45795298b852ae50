//! Distinguishes the kinds of events, and parses those that more than one function receives.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use turntable_core::{
    error::{Error, Result},
    layout::Key,
};

/// Returns whether a scheduled EventBridge rule sent the event. (EventBridge Scheduler sends its configured input
/// instead.)
pub(crate) fn is_scheduled(event: &Value) -> bool {
    event.get("detail-type").and_then(Value::as_str) == Some("Scheduled Event")
}

/// Parses a request that an operator or a program sent directly. `expected` describes valid requests in the error
/// message.
pub(crate) fn by_hand<T: DeserializeOwned>(event: &Value, expected: &str) -> Result<T> {
    if !event.is_object() {
        return Err(Error::input(format!("the request is not a JSON object: expected {expected}")));
    }
    serde_json::from_value(event.clone())
        .map_err(|fault| Error::input(format!("invalid request: expected {expected}")).caused_by(fault))
}

/// Returns the object in an S3 "Object Created" event from EventBridge, or `None` if `event` does not come from
/// EventBridge. Fails for an EventBridge event without a bucket and an object key.
pub(crate) fn created_object(event: &Value) -> Result<Option<Key>> {
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
    let bad = |fault| {
        Error::input("the event is not a valid S3 \"Object Created\" event from EventBridge: check the rule that invokes this function").caused_by(fault)
    };
    let event: aws_lambda_events::eventbridge::EventBridgeEvent<Detail> =
        serde_json::from_value(event.clone()).map_err(bad)?;
    Ok(Some(Key { bucket: event.detail.bucket.name, key: event.detail.object.key }))
}

//! Parses the messages in an SQS event.

use serde_json::Value;
use turntable_core::error::{Error, Result};

/// A message from an SQS queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub body: String,
    /// The receipt handle, which identifies this delivery in calls to SQS.
    pub receipt: String,
    /// How many times the message has been received, including this time.
    pub received: u32,
}

/// Parses the event in a message's body.
pub fn message(body: &str) -> Result<Value> {
    serde_json::from_str(body)
        .map_err(|fault| Error::input("the SQS message's body is not JSON: send a JSON object").caused_by(fault))
}

/// Returns the messages in an SQS event, or `None` for an event without `Records`. Fails if `Records` is not a list of
/// SQS messages.
pub(crate) fn queue(event: &Value) -> Result<Option<Vec<Message>>> {
    if event.get("Records").is_none() {
        return Ok(None);
    }
    let event: aws_lambda_events::sqs::SqsEvent = serde_json::from_value(event.clone()).map_err(|fault| {
        Error::input("the event has Records but is not an SQS event: check what invokes this function").caused_by(fault)
    })?;
    let message = |message: aws_lambda_events::sqs::SqsMessage| {
        let id = message.message_id.ok_or_else(|| {
            Error::input("a message in the SQS event has no messageId: check what invokes this function")
        })?;
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

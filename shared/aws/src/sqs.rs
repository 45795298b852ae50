//! The [`Queue`] port on SQS.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{MessageAttributeValue, SendMessageBatchRequestEntry},
};
use turntable_core::{
    error::{Error, Result},
    port::Queue,
};

use crate::fault::fault;

pub struct Sqs {
    client: Client,
    url: String,
    dead_letters: String,
}

impl Sqs {
    /// Creates the port. `url` and `dead_letters` are the URLs of the queue and of its dead-letter queue.
    pub fn new(config: &aws_config::SdkConfig, url: String, dead_letters: String) -> Self {
        Sqs { client: Client::new(config), url, dead_letters }
    }
}

/// The maximum number of messages in one `SendMessageBatch`.
const MAX_BATCH_MESSAGES: usize = 10;

#[async_trait]
impl Queue for Sqs {
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    async fn send(&self, bodies: Vec<String>) -> Result<()> {
        let (mut refused, mut example) = (0, None);
        for batch in bodies.chunks(MAX_BATCH_MESSAGES) {
            let entries = batch.iter().enumerate().map(|(id, body)| {
                let entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build();
                entry.expect("id and body are given")
            });
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries.collect()));
            let answer = request.send().await.map_err(|error| fault("sqs:SendMessage", &self.url, error))?;
            refused += answer.failed.len();
            example = example.or_else(|| answer.failed.into_iter().next().map(|entry| entry.code));
        }
        let Some(code) = example else { return Ok(()) };
        // A retry may send some messages twice, which export tolerates. A lost message would be worse.
        Err(Error::unavailable(format!(
            "{}: SQS refused {refused} of {} messages, for example with {code}: invoke the function again",
            self.url,
            bodies.len()
        )))
    }

    async fn change_visibility(&self, receipt: &str, after: Duration) -> Result<()> {
        let seconds = i32::try_from(after.as_secs()).unwrap_or(i32::MAX);
        let request = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
        let sent = request.visibility_timeout(seconds).send().await;
        sent.map(drop).map_err(|error| fault("sqs:ChangeMessageVisibility", &self.url, error))
    }

    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    async fn dead_letter(&self, body: &str, why: &Error) -> Result<()> {
        let text = |text: String| {
            let value = MessageAttributeValue::builder().data_type("String").string_value(text).build();
            value.expect("the type is given")
        };
        let request = self.client.send_message().queue_url(&self.dead_letters).message_body(body);
        let request = request
            .message_attributes("errorType", text(why.kind().as_str().into()))
            .message_attributes("errorMessage", text(attribute_text(&why.report())));
        request.send().await.map(drop).map_err(|error| fault("sqs:SendMessage", &self.dead_letters, error))
    }
}

/// Truncates the text to 16,000 characters and replaces control characters, so that SQS accepts it as an attribute: SQS
/// refuses some control characters, and messages of more than 256 KB.
fn attribute_text(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && !matches!(c, '\t' | '\n' | '\r') { ' ' } else { c })
        .take(16_000)
        .collect()
}

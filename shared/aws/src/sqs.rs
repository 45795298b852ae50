//! The [`Queue`] and [`DeadLetterQueues`] ports on SQS.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{
        Message, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
    },
};
use futures::future;
use jiff::Timestamp;
use turntable_core::{
    error::{Error, Result},
    port::{DeadLetter, DeadLetterQueue, DeadLetterQueues, Queue},
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
/// The longest time that SQS delays a message.
const MAX_DELAY_SECONDS: i32 = 900;

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

    async fn send_later(&self, body: String, after: Duration) -> Result<()> {
        // Rounded up, so that the message doesn't come too early.
        let seconds = i32::try_from(after.as_millis().div_ceil(1000)).unwrap_or(i32::MAX).min(MAX_DELAY_SECONDS);
        let request = self.client.send_message().queue_url(&self.url).message_body(body).delay_seconds(seconds);
        request.send().await.map(drop).map_err(|error| fault("sqs:SendMessage", &self.url, error))
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
            .message_attributes(ERROR_MESSAGE, text(attribute_text(&why.report())));
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

/// The message attribute that holds a dead letter's error.
const ERROR_MESSAGE: &str = "errorMessage";

/// The maximum number of messages that one `ReceiveMessage` returns.
const MAX_RECEIVED_MESSAGES: i32 = 10;

/// The dead-letter queues on SQS.
pub struct SqsDeadLetters {
    client: Client,
    /// The functions' names and the URLs of their dead-letter queues.
    queues: Vec<(String, String)>,
}

impl SqsDeadLetters {
    /// Creates the port. `urls` has the form `FUNCTION=URL FUNCTION=URL …`.
    pub fn new(config: &aws_config::SdkConfig, urls: &str) -> Result<Self> {
        let queue = |text: &str| {
            let (function, url) = text.split_once('=').ok_or_else(|| {
                Error::config(format!("{text:?} is not FUNCTION=URL: set DEAD_LETTER_URLS as template.yaml does"))
            })?;
            Ok((function.to_owned(), url.to_owned()))
        };
        let queues = urls.split_whitespace().map(queue).collect::<Result<_>>()?;
        Ok(SqsDeadLetters { client: Client::new(config), queues })
    }

    async fn look_at(&self, function: &str, url: &str) -> Result<DeadLetterQueue> {
        let request = self.client.get_queue_attributes().queue_url(url);
        let request = request.attribute_names(QueueAttributeName::ApproximateNumberOfMessages);
        let answer = request.send().await.map_err(|error| fault("sqs:GetQueueAttributes", url, error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let messages = attributes.get(&QueueAttributeName::ApproximateNumberOfMessages);
        let messages = messages.and_then(|number| number.parse().ok()).unwrap_or(0);
        let request = self.client.receive_message().queue_url(url).max_number_of_messages(MAX_RECEIVED_MESSAGES);
        let request = request
            .visibility_timeout(0) // Keeps the messages visible to others.
            .wait_time_seconds(i32::from(messages > 0)) // Queries all of SQS's servers, not only some.
            .message_attribute_names(ERROR_MESSAGE)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let answer = request.send().await.map_err(|error| fault("sqs:ReceiveMessage", url, error))?;
        let sample = answer.messages.unwrap_or_default().into_iter().map(dead_letter).collect();
        Ok(DeadLetterQueue { function: function.into(), messages, sample })
    }
}

#[async_trait]
impl DeadLetterQueues for SqsDeadLetters {
    async fn look(&self) -> Result<Vec<DeadLetterQueue>> {
        future::try_join_all(self.queues.iter().map(|(function, url)| self.look_at(function, url))).await
    }
}

fn dead_letter(message: Message) -> DeadLetter {
    let attributes = message.attributes.unwrap_or_default();
    let sent = attributes.get(&MessageSystemAttributeName::SentTimestamp).and_then(|at| at.parse().ok());
    let error = message.message_attributes.unwrap_or_default().remove(ERROR_MESSAGE);
    DeadLetter {
        body: message.body.unwrap_or_default(),
        error: error.and_then(|error| error.string_value),
        sent: sent.and_then(|at| Timestamp::from_millisecond(at).ok()),
    }
}

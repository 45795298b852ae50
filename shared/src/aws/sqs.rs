//! SQS.

use async_trait::async_trait;
use aws_sdk_sqs::{Client, types::SendMessageBatchRequestEntry};

use super::fault;
use crate::{
    error::{Error, Result},
    port::Queue,
};

pub struct Sqs {
    client: Client,
    url: String,
}

impl Sqs {
    pub fn new(config: &aws_config::SdkConfig, url: String) -> Self {
        Sqs { client: Client::new(config), url }
    }
}

/// How many messages one call takes.
const BATCH: usize = 10;

#[async_trait]
impl Queue for Sqs {
    async fn send(&self, bodies: Vec<String>) -> Result<()> {
        let mut refused = 0;
        for batch in bodies.chunks(BATCH) {
            let entries = batch.iter().enumerate().map(|(id, body)| {
                let entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build();
                entry.expect("id and body are given")
            });
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries.collect()));
            let answer = request.send().await.map_err(|error| fault("sqs:SendMessage", &self.url, error))?;
            refused += answer.failed().len();
        }
        if refused == 0 {
            return Ok(());
        }
        // Sending again may send some twice, which export bears; sending too few it does not.
        Err(Error::unavailable(format!(
            "{}: {refused} of {} messages were not taken: run again",
            self.url,
            bodies.len()
        )))
    }
}

//! A queue that receives the EventBridge events that match a pattern.

use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use cli::aws::SdkConfig;
use serde_json::{Value, json};

/// How long one request waits for messages.
const WAIT_SECONDS: i32 = 5;

/// The clients for EventBridge and SQS, and the name that the rule and the queue share.
pub struct Events {
    events: aws_sdk_eventbridge::Client,
    sqs: aws_sdk_sqs::Client,
    name: String,
}

impl Events {
    pub fn new(aws: &SdkConfig, name: &str) -> Events {
        Events { events: aws_sdk_eventbridge::Client::new(aws), sqs: aws_sdk_sqs::Client::new(aws), name: name.into() }
    }

    /// Creates a queue, and a rule that sends the events that match the pattern to it. Returns the queue's URL.
    pub async fn subscribe(&self, pattern: Value) -> String {
        let created = self.sqs.create_queue().queue_name(&self.name).send().await.expect("CreateQueue");
        let url = created.queue_url.expect("a URL");
        let asked = self.sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
        let attributes = asked.send().await.expect("GetQueueAttributes").attributes.unwrap_or_default();
        let arn = attributes.get(&QueueAttributeName::QueueArn).expect("an ARN");
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": "events.amazonaws.com" },
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }],
        });
        let set = self.sqs.set_queue_attributes().queue_url(&url);
        set.attributes(QueueAttributeName::Policy, policy.to_string()).send().await.expect("SetQueueAttributes");
        self.events.put_rule().name(&self.name).event_pattern(pattern.to_string()).send().await.expect("PutRule");
        let target = Target::builder().id("queue").arn(arn).build().expect("a target");
        let put = self.events.put_targets().rule(&self.name).targets(target).send().await.expect("PutTargets");
        assert_eq!(put.failed_entry_count(), 0, "PutTargets");
        url
    }

    /// Receives once, and returns the first event that `fits`, if any. Deletes all received events from the queue.
    pub async fn next(&self, url: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let received =
            self.sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(WAIT_SECONDS);
        let mut found = None;
        for message in received.send().await.expect("ReceiveMessage").messages.unwrap_or_default() {
            let event: Value = serde_json::from_str(message.body().unwrap_or_default()).expect("an event");
            let handle = message.receipt_handle().unwrap_or_default();
            self.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await.expect("DeleteMessage");
            found = found.or_else(|| fits(&event).then_some(event));
        }
        found
    }

    /// Deletes the rule and the queue, if they exist. Returns a message about each one that may be left.
    pub async fn delete(&self) -> Vec<String> {
        let Events { events, sqs, name } = self;
        let mut left = Vec::new();
        // A missing rule is no failure, although AWS and the emulators may report it as one.
        let removed = events.remove_targets().rule(name).ids("queue").send().await;
        let gone = |error: &aws_sdk_eventbridge::operation::remove_targets::RemoveTargetsError| {
            error.is_resource_not_found_exception()
        };
        if let Err(error) = removed
            && !error.as_service_error().is_some_and(gone)
        {
            left.push(format!("the target of rule {name} may be left: {error:?}"));
        }
        let deleted = events.delete_rule().name(name).send().await;
        let gone = |error: &aws_sdk_eventbridge::operation::delete_rule::DeleteRuleError| {
            error.is_resource_not_found_exception()
        };
        if let Err(error) = deleted
            && !error.as_service_error().is_some_and(gone)
        {
            left.push(format!("rule {name} may be left: {error:?}"));
        }
        match sqs.get_queue_url().queue_name(name).send().await {
            Ok(queue) => {
                let deleted = sqs.delete_queue().queue_url(queue.queue_url().unwrap_or_default()).send().await;
                left.extend(deleted.err().map(|error| format!("queue {name} may be left: {error:?}")));
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_queue_does_not_exist()) => {}
            Err(error) => left.push(format!("queue {name} may be left: {error:?}")),
        }
        left
    }
}

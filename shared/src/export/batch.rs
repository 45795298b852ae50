//! Sends messages to `export`'s queue, one per dataset, and settles the messages that failed.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tracing::{error, info};
use turntable_core::{
    config::Config,
    error::{Error, Kind, Result},
};
use turntable_events::Message;

use super::{answer::Answer, environment::Export};

/// Queues one message for each dataset in `names`. If it is `None`, queues one for each dataset that the stack's
/// schedule refreshes: those that aren't inboxes and have no `refresh`. The members of a group share one message.
pub(super) async fn enqueue(export: &Export, config: &Config, names: Option<Vec<String>>) -> Result<Answer> {
    let queued = match names {
        Some(names) => names,
        None => {
            let by_the_stack = config.datasets().filter(|dataset| !dataset.is_inbox() && dataset.refresh.is_none());
            by_the_stack.map(|dataset| dataset.name.clone()).collect()
        }
    };
    // A message for one member exports the whole group, so one message per group is enough.
    let mut groups = BTreeSet::new();
    let mut first = Vec::new();
    for name in queued {
        if config.dataset(&name)?.group.as_ref().is_none_or(|group| groups.insert(group.name.clone())) {
            first.push(name);
        }
    }
    let queued = first;
    export.queue.send(queued.iter().map(|name| json!({ "dataset": name }).to_string()).collect()).await?;
    info!(datasets = queued.len(), "queued");
    Ok(Answer::Queued { queued })
}

/// What the queue must do with a failed message.
pub(super) enum MessageOutcome {
    /// Redeliver it after this time, or after the queue's visibility timeout.
    Redeliver(Option<Duration>),
    Done,
}

/// The delays before each redelivery of a message whose failure may be temporary. If the message fails again after the
/// last delay, it goes to the dead-letter queue.
///
/// The queue's own visibility timeout applies only if an invocation dies. It must be longer than the longest
/// invocation.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

/// Settles a failed message. A failure that may be temporary is retried within minutes. Any other failure needs an
/// operator, so the message goes to the dead-letter queue at once.
pub(super) async fn settle(export: &Export, message: &Message, failure: &Error) -> MessageOutcome {
    let may_pass = matches!(failure.kind(), Kind::Unavailable | Kind::Conflict);
    let pause = RETRY_DELAYS.get(message.received.saturating_sub(1) as usize).filter(|_| may_pass);
    let done = match pause {
        Some(pause) => export
            .queue
            .change_visibility(&message.receipt, *pause)
            .await
            .map(|()| MessageOutcome::Redeliver(Some(*pause))),
        None => export.queue.dead_letter(&message.body, failure).await.map(|()| MessageOutcome::Done),
    };
    // If this call fails, the message is redelivered after the queue's visibility timeout. It goes to the dead-letter
    // queue after the queue's maximum number of receives.
    done.unwrap_or_else(|error| {
        error!(message_id = message.id, kind = error.kind().as_str(), error = error.report(), "message not settled");
        MessageOutcome::Redeliver(None)
    })
}

//! Carries out the requests to `export`.

use tracing::error;
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
};
use turntable_events::{self as request, Message};

use super::{
    answer::Answer,
    batch::{MessageOutcome, enqueue, settle},
    engine_run,
    environment::Export,
    failure, group, single,
};
use crate::config_faults;

/// Carries out one request. A failed queue message is redelivered or goes to the dead-letter queue, and does not fail
/// the invocation.
pub async fn carry_out(export: &Export, request: request::Export) -> Result<Answer> {
    // Each message reads `datasets.toml` itself, so that an unreadable file fails the messages, but not the invocation.
    if let request::Export::Queue(messages) = request {
        return Ok(Answer::Batch(request::redeliver(handle_messages(export, messages).await)));
    }
    let config = export.env.config().await?;
    config_faults::report(&export.env, &config);
    match request {
        request::Export::One(name) => {
            let dataset = config.dataset(&name)?;
            let built = export_one(export, &config, dataset).await;
            if let Err(error) = &built {
                failure::write(&export.env, dataset, error, None).await;
            }
            built
        }
        request::Export::Ended(run) => engine_run::ended(export, &config, &run).await,
        request::Export::Pending(name, generation) => {
            engine_run::pending(export, config.dataset(&name)?, &generation).await
        }
        request::Export::Fan(names) => enqueue(export, &config, names).await,
        request::Export::Queue(_) => {
            Err(Error::input("an SQS message can't contain an SQS event: send one request per message"))
        }
    }
}

/// Handles all messages. Returns the ids of the messages to redeliver.
async fn handle_messages(export: &Export, messages: Vec<Message>) -> Vec<String> {
    let mut redelivered = Vec::new();
    for message in messages {
        let Err(failure) = handle_message(export, &message.body).await else { continue };
        error!(
            message_id = message.id,
            dataset = failure.dataset(),
            kind = failure.kind().as_str(),
            received = message.received,
            error = failure.report(),
            "export failed"
        );
        match settle(export, &message, &failure).await {
            MessageOutcome::Redeliver(after) => {
                redelivered.push(message.id);
                failure::write_for_message(&export.env, &failure, after).await;
            }
            MessageOutcome::Done => failure::write_for_message(&export.env, &failure, None).await,
        }
    }
    redelivered
}

/// Handles one queue message: a request for one dataset.
///
/// If `datasets.toml` can't be read, the message fails, but not the invocation. A failed invocation would leave the
/// message invisible for the queue's visibility timeout, which is longer than an hour.
async fn handle_message(export: &Export, body: &str) -> Result<()> {
    let request = request::Export::parse(&request::message(body)?)?;
    let config = export.env.config().await?;
    match request {
        request::Export::One(name) => export_one(export, &config, config.dataset(&name)?).await.map(drop),
        request::Export::Pending(name, generation) => {
            engine_run::pending(export, config.dataset(&name)?, &generation).await.map(drop)
        }
        _ => Err(Error::input("the SQS message doesn't name exactly one dataset: expected {\"dataset\": NAME}")),
    }
}

/// Exports one dataset: builds its generation, or starts an engine run. For a member of a group, exports the whole
/// group.
async fn export_one(export: &Export, config: &Config, dataset: &Dataset) -> Result<Answer> {
    // Boxed, because the unboxed futures are nested too deeply for the compiler.
    let built = match config.group_of(dataset) {
        Some(members) => Box::pin(group::build(export, &members, dataset)).await.map(Answer::Exported),
        None if dataset.source.is_engine() => Box::pin(engine_run::export(export, dataset)).await,
        None => Box::pin(single::build(export, dataset)).await.map(Answer::Exported),
    };
    built.map_err(|failure| failure.of(&dataset.name))
}

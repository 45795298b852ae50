//! Handles requests to `export`.

use std::time::Duration;

use tracing::{error, info, warn};
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
    layout::Generation,
    refresh::Running,
};
use turntable_events::{self as request, Message};

use super::{
    answer::{Answer, EngineOutcome},
    batch::{MessageOutcome, enqueue, settle},
    engine_run,
    environment::Export,
    failure, flipped, group, puts,
    refreshes::{self, Claimed, Ended, Why},
    single, tick, unread,
};
use crate::config_faults;

/// Handles one request. A failed queue message is redelivered or goes to the dead-letter queue, but doesn't fail the
/// invocation.
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
        request::Export::Due(name, due) => {
            refresh_by_hand(export, &config, config.dataset(&name)?, Why::Due(due)).await
        }
        request::Export::Inputs(name) => refresh_by_hand(export, &config, config.dataset(&name)?, Why::Inputs).await,
        request::Export::Changed(name) => refresh_by_hand(export, &config, config.dataset(&name)?, Why::Put).await,
        request::Export::Tick => tick::tick(export, &config).await,
        request::Export::Flipped(paths, record) => flipped::flipped(export, &config, &paths, &record).await,
        request::Export::Ended(run) => followed(export, &config, engine_run::ended(export, &config, &run)).await,
        request::Export::Pending(name, generation) => pending(export, &config, &name, &generation).await,
        request::Export::Fan(names) => enqueue(export, &config, names).await,
        request::Export::Queue(_) => {
            Err(Error::input("an SQS message can't contain an SQS event: send one request per message"))
        }
    }
}

/// Exports a dataset that is due, for a request that isn't a queue message.
async fn refresh_by_hand(export: &Export, config: &Config, dataset: &Dataset, why: Why) -> Result<Answer> {
    match refresh(export, config, dataset, why).await {
        Ok(Handled::Done | Handled::Settling) => Ok(Answer::Queued { queued: Vec::new() }),
        Ok(Handled::Exported(answer)) => Ok(*answer),
        Ok(Handled::Wait(time)) => Err(Error::conflict(format!(
            "{}: a run for this due time is in progress, or has died: invoke export again in {} s",
            dataset.name,
            time.as_secs()
        ))),
        Err(error) => {
            failure::write(&export.env, dataset, &error, None).await;
            Err(error)
        }
    }
}

/// Handles all messages. Returns the ids of the messages to redeliver.
async fn handle_messages(export: &Export, messages: Vec<Message>) -> Vec<String> {
    let (mut redelivered, messages) = handle_puts(export, messages).await;
    for message in messages {
        let failure = match handle_message(export, &message.body).await {
            Ok(Handled::Done | Handled::Settling | Handled::Exported(_)) => continue,
            Ok(Handled::Wait(time)) => {
                info!(message_id = message.id, seconds = time.as_secs(), "checked again later");
                if let Err(error) = export.queue.change_visibility(&message.receipt, time).await {
                    warn!(message_id = message.id, error = error.report(), "checked again after the queue's timeout");
                }
                redelivered.push(message.id);
                continue;
            }
            Err(failure) => failure,
        };
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
            MessageOutcome::Done => {
                failure::write_for_message(&export.env, &failure, None).await;
                follow_failed(export, &failure).await;
            }
        }
    }
    redelivered
}

/// Handles all messages that report puts, together. Returns the ids of those to redeliver, and the messages that don't
/// report puts. Events that can't be handled come again after the queue's visibility timeout; until then, sweep makes
/// up for them.
async fn handle_puts(export: &Export, messages: Vec<Message>) -> (Vec<String>, Vec<Message>) {
    let (mut keys, mut ids, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for message in messages {
        match request::Export::put(&message) {
            Some(key) => {
                keys.push(key);
                ids.push(message.id);
            }
            None => others.push(message),
        }
    }
    if keys.is_empty() {
        return (Vec::new(), others);
    }
    let noted = async {
        let config = export.env.config().await?;
        puts::put(export, &config, &keys).await
    };
    match noted.await {
        Ok(_) => (Vec::new(), others),
        Err(error) => {
            error!(puts = ids.len(), kind = error.kind().as_str(), error = error.report(), "puts were not noted");
            (ids, others)
        }
    }
}

/// Handles one queue message: a request for one dataset.
///
/// If `datasets.toml` can't be read, the message fails, but not the invocation. A failed invocation would leave the
/// message invisible for the queue's visibility timeout, which is more than an hour.
async fn handle_message(export: &Export, body: &str) -> Result<Handled> {
    let request = request::Export::parse(&request::message(body)?)?;
    let config = export.env.config().await?;
    match request {
        request::Export::One(name) => {
            export_one(export, &config, config.dataset(&name)?).await.map(|answer| Handled::Exported(Box::new(answer)))
        }
        request::Export::Due(name, due) => refresh(export, &config, config.dataset(&name)?, Why::Due(due)).await,
        request::Export::Inputs(name) => refresh(export, &config, config.dataset(&name)?, Why::Inputs).await,
        request::Export::Changed(name) => refresh(export, &config, config.dataset(&name)?, Why::Put).await,
        request::Export::Pending(name, generation) => {
            pending(export, &config, &name, &generation).await.map(|answer| Handled::Exported(Box::new(answer)))
        }
        _ => Err(Error::input("the SQS message doesn't name exactly one dataset: expected {\"dataset\": NAME}")),
    }
}

/// The outcome of a message that didn't fail.
enum Handled {
    Exported(Box<Answer>),
    /// Nothing was due, or another run serves the message.
    Done,
    /// The last put has not settled yet, and another message was sent.
    Settling,
    /// A run for the due time is in progress. If it dies, this message must start another, so it is checked again after
    /// this time.
    Wait(Duration),
}

/// Exports a dataset that is due, unless another run serves it.
async fn refresh(export: &Export, config: &Config, dataset: &Dataset, why: Why) -> Result<Handled> {
    let lead = config.lead(dataset);
    let claimed = refreshes::claim(&export.env, lead, why).await.map_err(|failure| failure.of(&lead.name))?;
    let running = match claimed {
        Claimed::Run(running) => running,
        Claimed::Wait(time) => return Ok(Handled::Wait(time)),
        Claimed::Settle(time) => {
            // Not a redelivery, because SQS gives up a message that it has delivered too often.
            let sent = export.queue.send_later(unread::message(&lead.name), time).await;
            return sent.map(|()| Handled::Settling).map_err(|failure| failure.of(&lead.name));
        }
        Claimed::Nothing => return Ok(Handled::Done),
    };
    let built = export_one(export, config, lead).await;
    let ended = match &built {
        Ok(answer) if lead.source.is_engine() && is_earlier(answer, &running) => Ended::Postponed,
        Ok(_) => Ended::Well,
        Err(_) => Ended::Failed,
    };
    refreshes::end(export, lead, &running, ended).await;
    if let (Ended::Postponed, Ok(answer)) = (ended, &built) {
        follow(export, config, answer).await;
    }
    built.map(|answer| Handled::Exported(Box::new(answer)))
}

/// Returns whether an answer is about an engine run that started too early to serve what is due now.
fn is_earlier(answer: &Answer, running: &Running) -> bool {
    let as_of = match answer {
        Answer::Exported(exported) => Some(exported.as_of),
        Answer::EngineResponse(response) => response.as_of,
        _ => None,
    };
    as_of.is_some_and(|as_of| as_of < running.due.unwrap_or(running.since))
}

/// Checks a pending engine run.
async fn pending(export: &Export, config: &Config, name: &str, generation: &Generation) -> Result<Answer> {
    followed(export, config, engine_run::pending(export, config.dataset(name)?, generation)).await
}

/// Returns the answer about an engine run, and queues the run that waited for it.
async fn followed(export: &Export, config: &Config, about: impl Future<Output = Result<Answer>>) -> Result<Answer> {
    let answer = about.await?;
    follow(export, config, &answer).await;
    Ok(answer)
}

/// Queues the run that waited for an engine run, if the engine run has been settled.
async fn follow(export: &Export, config: &Config, answer: &Answer) {
    let name = match answer {
        Answer::Exported(exported) => Some(&exported.dataset),
        Answer::EngineResponse(response) if response.outcome == EngineOutcome::Failed => response.dataset.as_ref(),
        _ => None,
    };
    if let Some(dataset) = name.and_then(|name| config.dataset(name).ok()) {
        refreshes::follow(export, config.lead(dataset)).await;
    }
}

/// Queues the run that waited for a run that has failed for good.
async fn follow_failed(export: &Export, failure: &Error) {
    let Some(name) = failure.dataset() else { return };
    let Ok(config) = export.env.config().await else { return };
    if let Ok(dataset) = config.dataset(name) {
        refreshes::follow(export, config.lead(dataset)).await;
    }
}

/// Exports one dataset: builds its generation, or starts an engine run. For a member of a group, exports the whole
/// group.
async fn export_one(export: &Export, config: &Config, dataset: &Dataset) -> Result<Answer> {
    // Boxed, because without boxes the futures are nested too deeply for the compiler.
    let built = match config.group_of(dataset) {
        Some(members) => Box::pin(group::build(export, &members, dataset)).await.map(Answer::Exported),
        None if dataset.source.is_engine() => Box::pin(engine_run::export(export, dataset)).await,
        None => Box::pin(single::build(export, dataset)).await.map(Answer::Exported),
    };
    built.map_err(|failure| failure.of(&dataset.name))
}

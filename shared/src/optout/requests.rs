//! Handles requests to `optout`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tracing::error;
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
};
use turntable_events::{self as request, Message};

use super::{
    answer::Answer,
    environment::Optout,
    options::RefreshOptions,
    report::{Views, refresh_one},
};
use crate::{
    config_faults, deadline,
    metric::{Metric, emit},
};

/// Handles one request, or fails when the deadline passes. Even then, nothing is published halfway, because each
/// refresh commits with one flip.
pub async fn carry_out(optout: &Optout, request: request::Optout) -> Result<Answer> {
    tokio::select! {
        answer = dispatch(optout, request) => answer,
        () = deadline::passed(optout.deadline) => Err(Error::config(
            "optout stopped shortly before the function's timeout: the live table is intact, and drops that are not \
             published yet stay in the inbox. Give the function more memory, which also adds vCPUs, or a longer \
             timeout; or have the application put fewer records into each drop",
        )),
    }
}

async fn dispatch(optout: &Optout, request: request::Optout) -> Result<Answer> {
    let config = optout.env.config().await?;
    config_faults::report(&optout.env, &config);
    match request {
        request::Optout::Queue(messages) => {
            Ok(Answer::Batch(request::redeliver(refresh_batch(optout, &config, messages).await)))
        }
        request::Optout::One { ref dataset, reconcile, max_returning } => {
            if max_returning.is_some() {
                // It brings rows back, so it is a person's decision.
                optout.env.ensure_operator("max_returning")?;
            }
            let options = RefreshOptions {
                verify: true,
                reconcile,
                max_returning,
                time: share(optout, 1),
                secrets: optout.secrets.clone(),
                iam: optout.iam.clone(),
                ..RefreshOptions::default()
            };
            let refreshed = refresh_one(optout, config.dataset(dataset)?, &options, Views::Always).await;
            refreshed.map(Answer::One).map_err(|failure| failure.of(dataset))
        }
        request => refresh_all(optout, request.datasets(&config)?).await,
    }
}

/// Refreshes each dataset once, no matter how many messages are about it, because a refresh reads the whole inbox.
///
/// Returns the ids of the messages to redeliver. A message that can't be parsed doesn't affect the others.
async fn refresh_batch(optout: &Optout, config: &Config, messages: Vec<Message>) -> Vec<String> {
    let mut failed = Vec::new();
    let mut nudged: BTreeMap<&str, (&Dataset, Vec<String>)> = BTreeMap::new();
    for Message { id, body, .. } in messages {
        match request::Optout::parse_message(&body).and_then(|request| request.datasets(config)) {
            Ok(datasets) => {
                for dataset in datasets {
                    nudged.entry(&dataset.name).or_insert((dataset, Vec::new())).1.push(id.clone());
                }
            }
            Err(fault) => {
                // The message goes to the dead-letter queue, but only after some time. The alarm must not wait for
                // that.
                emit(optout.env.clock.now(), "none", &[(Metric::RejectedRecords, 1.0)]);
                error!(message_id = id, kind = fault.kind().as_str(), error = fault.report(), "invalid message");
                failed.push(id);
            }
        }
    }
    let all = nudged.len();
    for (at, (dataset, messages)) in nudged.into_values().enumerate() {
        let options = patient(false, share(optout, all - at));
        if let Err(failure) = refresh_one(optout, dataset, &options, Views::IfOutdated).await {
            log_failure(dataset, &failure);
            failed.extend(messages);
        }
    }
    failed
}

/// Refreshes each dataset, even if others fail. Returns the first failure for the caller to log, and logs later ones
/// itself.
async fn refresh_all(optout: &Optout, datasets: Vec<&Dataset>) -> Result<Answer> {
    let (mut refreshed, mut first) = (Vec::new(), None);
    let all = datasets.len();
    for (at, dataset) in datasets.into_iter().enumerate() {
        match refresh_one(optout, dataset, &patient(true, share(optout, all - at)), Views::Always).await {
            Ok(answer) => refreshed.push(answer),
            Err(failure) if first.is_none() => first = Some(failure.of(&dataset.name)),
            Err(failure) => log_failure(dataset, &failure),
        }
    }
    first.map_or(Ok(Answer::Many { refreshed }), Err)
}

/// Returns the options for a refresh that respects the dataset's `min_interval`.
fn patient(verify: bool, time: Option<SignedDuration>) -> RefreshOptions {
    RefreshOptions { patient: true, verify, time, ..RefreshOptions::default() }
}

/// Returns the time for each of `datasets`: an equal share of the time that is left, so that no inbox uses up another
/// one's time. `None` if there is no deadline.
fn share(optout: &Optout, datasets: usize) -> Option<SignedDuration> {
    let left = SignedDuration::try_from(optout.deadline?.left()).unwrap_or(SignedDuration::MAX);
    Some(left / i32::try_from(datasets).unwrap_or(i32::MAX).max(1))
}

fn log_failure(dataset: &Dataset, failure: &Error) {
    error!(dataset = dataset.name, kind = failure.kind().as_str(), error = failure.report(), "refresh failed");
}

//! `optout`: merges all unread drops of an inbox into its table, and flips the table in the same invocation.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tracing::{error, info};
use turntable::{
    answer::OptedOut,
    config::{Config, Dataset, Inbox, Source},
    environment::Environment,
    error::{Error, Result},
    lambda::{self, Deadline},
    metric::{Metric, emit},
    optout::{self, RefreshOptions, views},
    port::{Secrets, TokenSigner},
    publish::Outcome,
    request::{self, Message},
};

/// The clients and the environment of `optout`.
#[derive(Clone)]
pub struct Optout {
    pub env: Environment,
    pub secrets: Option<Arc<dyn Secrets>>,
    pub iam: Option<Arc<dyn TokenSigner>>,
    /// When the invocation must have stopped by itself; `None` for no limit.
    pub deadline: Option<Deadline>,
}

/// The answer of an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    One(OptedOut),
    Many {
        refreshed: Vec<OptedOut>,
    },
    /// The answer to an SQS event: the messages to redeliver.
    Batch {
        #[serde(rename = "batchItemFailures")]
        failures: Vec<Value>,
    },
}

/// Handles one invocation. Stops at the deadline: nothing is half-published, because each refresh commits with one
/// flip.
pub async fn handle(optout: Optout, event: Value) -> Result<Answer> {
    let deadline = optout.deadline;
    tokio::select! {
        answer = dispatch(optout, event) => answer,
        () = lambda::passed(deadline) => Err(Error::config(
            "optout stopped shortly before the function's timeout: the live table is complete, and no drop is lost. \
             Give the function more memory, which adds processors too, or a longer timeout; or let the application put \
             fewer records at once",
        )),
    }
}

async fn dispatch(optout: Optout, event: Value) -> Result<Answer> {
    let request = request::Optout::parse(&event)?;
    let config = optout.env.config().await?;
    match request {
        request::Optout::Queue(messages) => {
            Ok(Answer::Batch { failures: refresh_batch(&optout, &config, messages).await })
        }
        request::Optout::One { ref dataset, reconcile } => {
            let ask = RefreshOptions {
                reconcile,
                secrets: optout.secrets.clone(),
                iam: optout.iam.clone(),
                ..RefreshOptions::default()
            };
            let refreshed = refresh_one(&optout, config.dataset(dataset)?, &ask, Views::Always).await;
            refreshed.map(Answer::One).map_err(|failure| failure.of(dataset))
        }
        request => refresh_all(&optout, request.datasets(&config)?).await,
    }
}

/// Refreshes each dataset once, no matter how many of the messages are about it, because a refresh reads the whole
/// inbox.
///
/// Returns the messages to redeliver. A message that can't be parsed fails alone.
async fn refresh_batch(optout: &Optout, config: &Config, messages: Vec<Message>) -> Vec<Value> {
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
                error!(message_id = id, kind = fault.kind().as_str(), error = fault.report(), "invalid message");
                failed.push(id);
            }
        }
    }
    for (dataset, messages) in nudged.into_values() {
        if let Err(failure) = refresh_one(optout, dataset, &patient(), Views::OfNewTable).await {
            log_failure(dataset, &failure);
            failed.extend(messages);
        }
    }
    failed.into_iter().map(|id| json!({ "itemIdentifier": id })).collect()
}

/// Refreshes all datasets; a failure does not stop the others. Returns the first failure, and logs only the later ones,
/// because the returned one is logged at the function's boundary.
async fn refresh_all(optout: &Optout, datasets: Vec<&Dataset>) -> Result<Answer> {
    let (mut refreshed, mut first) = (Vec::new(), None);
    for dataset in datasets {
        match refresh_one(optout, dataset, &patient(), Views::Always).await {
            Ok(answer) => refreshed.push(answer),
            Err(failure) if first.is_none() => first = Some(failure.of(&dataset.name)),
            Err(failure) => log_failure(dataset, &failure),
        }
    }
    first.map_or(Ok(Answer::Many { refreshed }), Err)
}

/// Returns a refresh that respects the dataset's `min_interval`.
fn patient() -> RefreshOptions {
    RefreshOptions { patient: true, ..RefreshOptions::default() }
}

fn log_failure(dataset: &Dataset, failure: &Error) {
    error!(dataset = dataset.name, kind = failure.kind().as_str(), error = failure.report(), "refresh failed");
}

/// When the views are created or updated. A drop's event does so only for a new table, so that it never waits for them.
#[derive(Clone, Copy, PartialEq)]
enum Views {
    Always,
    OfNewTable,
}

/// Refreshes one dataset, logs the result and emits its metrics.
async fn refresh_one(optout: &Optout, dataset: &Dataset, ask: &RefreshOptions, views: Views) -> Result<OptedOut> {
    let started = Instant::now();
    let Source::Inbox(inbox) = &dataset.source else {
        return Err(Error::input(format!("datasets.{}.source is not an inbox: invoke export instead", dataset.name)));
    };
    let refreshed = optout::refresh(&optout.env, dataset, inbox, ask).await?;
    let wanted = views == Views::Always || refreshed.created;
    let (took, lag) = (refreshed.took, refreshed.lag.map(|lag| lag.as_secs_f64()));
    let mut answer = OptedOut::new(&dataset.name, refreshed);
    if wanted && answer.outcome != Outcome::Rejected {
        answer.reasons.extend(ensure_views(&optout.env, dataset, inbox).await);
    }
    info!(
        dataset = answer.dataset,
        outcome = ?answer.outcome,
        generation = answer.generation.as_ref().map(ToString::to_string),
        drops = answer.drops,
        applied = answer.applied,
        rejected = answer.rejected,
        rows = answer.rows,
        reasons = ?answer.reasons,
        lag,
        loaded = took.loaded.as_secs_f64(),
        read = took.read.as_secs_f64(),
        merge = took.merge.as_secs_f64(),
        audit = took.audit.as_secs_f64(),
        flip = took.flip.as_secs_f64(),
        seconds = started.elapsed().as_secs_f64(),
        "refreshed"
    );
    let rejected = (answer.outcome == Outcome::Committed).then_some((Metric::RejectedRecords, answer.rejected as f64));
    let metrics: Vec<_> = lag.map(|lag| (Metric::OptoutLag, lag)).into_iter().chain(rejected).collect();
    if !metrics.is_empty() {
        emit(optout.env.clock.now(), &answer.dataset, &metrics);
    }
    if answer.outcome == Outcome::Rejected {
        let reasons = answer.reasons.join("; ");
        return Err(Error::rejected(format!(
            "{}: the merge was rejected, and the live table is unchanged: {reasons}",
            answer.dataset
        )));
    }
    Ok(answer)
}

/// Creates the views that are missing or outdated. Returns a message if that fails: the flip stands, and the schedule
/// retries.
async fn ensure_views(env: &Environment, dataset: &Dataset, inbox: &Inbox) -> Option<String> {
    let run = async |database: &str, sql: &str| env.query.run(database, sql).await.map(drop);
    match views::ensure(env, dataset, inbox, run).await {
        Ok(created) if created.is_empty() => None,
        Ok(created) => {
            info!(dataset = dataset.name, ?created, "views created");
            None
        }
        Err(fault) => {
            error!(dataset = dataset.name, kind = fault.kind().as_str(), error = fault.report(), "views not created");
            Some(format!("views: {}", fault.message()))
        }
    }
}

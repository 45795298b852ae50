//! `optout`: brings every unread drop of an inbox into its table, and flips in the same invocation.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tracing::{error, info};
use turntable::{
    answer::OptedOut,
    config::{Config, Dataset, Inbox, Source},
    environment::World,
    error::{Error, Result},
    lambda::{self, Deadline},
    metric::{Metric, emit},
    optout::{self, Ask, views},
    port::{Secrets, TokenSigner},
    publish::Outcome,
    request::{self, Message},
};

/// What `optout` runs on.
#[derive(Clone)]
pub struct Optout {
    pub world: World,
    pub secrets: Option<Arc<dyn Secrets>>,
    pub iam: Option<Arc<dyn TokenSigner>>,
    /// When it must have stopped by itself; `None`: never.
    pub deadline: Option<Deadline>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    One(OptedOut),
    Many {
        refreshed: Vec<OptedOut>,
    },
    /// What SQS expects: the messages to deliver again.
    Batch {
        #[serde(rename = "batchItemFailures")]
        failures: Vec<Value>,
    },
}

pub async fn handle(optout: Optout, event: Value) -> Result<Answer> {
    let deadline = optout.deadline;
    tokio::select! {
        answer = work(optout, event) => answer,
        () = lambda::passed(deadline) => Err(Error::config(
            "the function's time is nearly up, and optout has stopped by itself: what is live is complete, and no drop is \
             lost. Give the function more memory, for its share of CPUs, or more time; or let the application put fewer \
             records at once",
        )),
    }
}

async fn work(optout: Optout, event: Value) -> Result<Answer> {
    let request = request::Optout::parse(&event)?;
    let config = optout.world.config().await?;
    match request {
        request::Optout::Queue(messages) => Ok(Answer::Batch { failures: batch(&optout, &config, messages).await }),
        request::Optout::One { ref dataset, reconcile } => {
            let ask = Ask { reconcile, secrets: optout.secrets.clone(), iam: optout.iam.clone(), ..Ask::default() };
            let refreshed = one(&optout, config.dataset(dataset)?, &ask, Views::Always).await;
            refreshed.map(Answer::One).map_err(|failure| failure.of(dataset))
        }
        request => many(&optout, request.datasets(&config)?).await,
    }
}

/// An event is only a nudge: however many there are of a dataset, it is refreshed once. What cannot be understood
/// fails by itself.
async fn batch(optout: &Optout, config: &Config, messages: Vec<Message>) -> Vec<Value> {
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
                error!(message_id = id, kind = fault.kind().as_str(), error = fault.report(), "message not understood");
                failed.push(id);
            }
        }
    }
    for (dataset, messages) in nudged.into_values() {
        if let Err(failure) = one(optout, dataset, &patient(), Views::OfNewTable).await {
            report(dataset, &failure);
            failed.extend(messages);
        }
    }
    failed.into_iter().map(|id| json!({ "itemIdentifier": id })).collect()
}

/// One dataset's failure does not stop the others; the first is the answer, and is logged as such.
async fn many(optout: &Optout, datasets: Vec<&Dataset>) -> Result<Answer> {
    let (mut refreshed, mut first) = (Vec::new(), None);
    for dataset in datasets {
        match one(optout, dataset, &patient(), Views::Always).await {
            Ok(answer) => refreshed.push(answer),
            Err(failure) if first.is_none() => first = Some(failure.of(&dataset.name)),
            Err(failure) => report(dataset, &failure),
        }
    }
    first.map_or(Ok(Answer::Many { refreshed }), Err)
}

fn patient() -> Ask {
    Ask { patient: true, ..Ask::default() }
}

fn report(dataset: &Dataset, failure: &Error) {
    error!(dataset = dataset.name, kind = failure.kind().as_str(), error = failure.report(), "refresh failed");
}

/// When the views are looked after. A drop never waits for them.
#[derive(Clone, Copy, PartialEq)]
enum Views {
    Always,
    OfNewTable,
}

async fn one(optout: &Optout, dataset: &Dataset, ask: &Ask, views: Views) -> Result<OptedOut> {
    let started = Instant::now();
    let Source::Inbox(inbox) = &dataset.source else {
        return Err(Error::input(format!("datasets.{}.source is no inbox: ask export for it", dataset.name)));
    };
    let refreshed = optout::refresh(&optout.world, dataset, inbox, ask).await?;
    let wanted = views == Views::Always || refreshed.created;
    let (took, lag) = (refreshed.took, refreshed.lag.map(|lag| lag.as_secs_f64()));
    let mut answer = OptedOut::new(&dataset.name, refreshed);
    if wanted && answer.outcome != Outcome::Rejected {
        answer.reasons.extend(look_after_views(&optout.world, dataset, inbox).await);
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
        look = took.look.as_secs_f64(),
        read = took.read.as_secs_f64(),
        merge = took.merge.as_secs_f64(),
        audit = took.audit.as_secs_f64(),
        flip = took.flip.as_secs_f64(),
        seconds = started.elapsed().as_secs_f64(),
        "refreshed"
    );
    let rejected = (answer.outcome == Outcome::Swapped).then_some((Metric::RejectedRecords, answer.rejected as f64));
    let metrics: Vec<_> = lag.map(|lag| (Metric::OptoutLag, lag)).into_iter().chain(rejected).collect();
    if !metrics.is_empty() {
        emit(optout.world.clock.now(), &answer.dataset, &metrics);
    }
    if answer.outcome == Outcome::Rejected {
        let reasons = answer.reasons.join("; ");
        return Err(Error::rejected(format!("{}: rejected, live is unchanged: {reasons}", answer.dataset)));
    }
    Ok(answer)
}

/// What went wrong with the views. The flip stands, and the schedule tries again.
async fn look_after_views(world: &World, dataset: &Dataset, inbox: &Inbox) -> Option<String> {
    let run = async |database: &str, sql: &str| world.query.run(database, sql).await.map(drop);
    match views::ensure(world, dataset, inbox, run).await {
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

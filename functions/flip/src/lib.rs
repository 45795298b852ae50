//! `flip`: audits a candidate and makes it live in one call, and handles operators' requests: rollback, hold, release,
//! status.

mod group;

use std::time::Instant;

use serde_json::{Value, json};
use tracing::{error, info};
use turntable::{
    answer::{Flipped, Response},
    config::Dataset,
    decision::Trigger,
    environment::Environment,
    error::{Error, Result},
    layout::TableName,
    metric::{Metric, emit},
    publish::{self, FlipReport, Outcome},
    request, status,
};

/// Handles a request for one dataset, or for the status of all.
pub async fn answer(env: Environment, event: Value) -> Result<Response> {
    if !request::is_about_all(&event) {
        return handle(env, event).await.map(|flipped| Response::One(Box::new(flipped)));
    }
    let started = Instant::now();
    let overview = status::overview(&env, &env.config().await?).await;
    let (datasets, attention) = (overview.datasets.len(), overview.attention.len());
    info!(datasets, attention, seconds = started.elapsed().as_secs_f64(), "status");
    Ok(Response::All(overview))
}

/// Handles a request for one dataset.
pub async fn handle(env: Environment, event: Value) -> Result<Flipped> {
    let started = Instant::now();
    let request = request::Flip::parse(&event)?;
    let config = env.config().await?;
    let dataset = match &request {
        request::Flip::Changed(table) => match config.dataset_of(table) {
            Some(dataset) => dataset,
            None => return Ok(unmanaged_table(table)),
        },
        request::Flip::Manifest(paths, _) => config.dataset_at(paths)?,
        request::Flip::Candidate { dataset, .. }
        | request::Flip::Rollback { dataset, .. }
        | request::Flip::Hold { dataset, .. }
        | request::Flip::Release { dataset, .. }
        | request::Flip::Status { dataset } => config.dataset(dataset)?,
    };
    let by_event = matches!(request, request::Flip::Manifest(..) | request::Flip::Changed(_));
    let candidate = request.generation().map(|generation| generation.to_string());
    let answer = match config.group_of(dataset) {
        Some(group) => group::act(&env, &group, dataset, request).await,
        None => act(&env, dataset, request).await,
    };
    let answer = answer.map_err(|failure| failure.of(&dataset.name))?;
    info!(
        dataset = answer.dataset,
        candidate,
        outcome = ?answer.outcome,
        live = answer.live,
        previous = answer.previous,
        reasons = ?answer.reasons,
        checks = ?answer.checks,
        group = answer.group.as_ref().map(|group| &group.name),
        run = answer.group.as_ref().and_then(|group| group.run.as_ref()),
        members = answer.group.as_ref().map(|group| json!(group.live).to_string()),
        between_ms = answer.group.as_ref().and_then(|group| group.between_ms),
        seconds = started.elapsed().as_secs_f64(),
        "flip"
    );
    match answer.outcome {
        Outcome::Rejected => {
            emit(env.clock.now(), &answer.dataset, &[(Metric::Rejected, 1.0)]);
            let rejected = rejected(&answer).of(&answer.dataset);
            if by_event {
                // An error would make Lambda retry twice, with the same result, and count one rejection as three.
                error!(dataset = answer.dataset, kind = rejected.kind().as_str(), error = rejected.report(), "failed");
                return Ok(answer);
            }
            Err(rejected)
        }
        Outcome::Committed => {
            emit(env.clock.now(), &answer.dataset, &[(Metric::FlipTime, started.elapsed().as_secs_f64())]);
            Ok(answer)
        }
        _ => Ok(answer),
    }
}

/// Returns the answer for a table of no dataset: the EventBridge rule matches every table in the account.
fn unmanaged_table(table: &TableName) -> Flipped {
    Flipped {
        dataset: table.to_string(),
        outcome: Outcome::Status,
        live: None,
        previous: None,
        reasons: vec!["no dataset publishes to this table".into()],
        checks: Vec::new(),
        status: None,
        group: None,
    }
}

/// Carries out the request for a dataset that has no group.
async fn act(env: &Environment, dataset: &Dataset, request: request::Flip) -> Result<Flipped> {
    let ended = match request {
        request::Flip::Manifest(_, generation) => publish::flip(env, dataset, generation, Trigger::Event).await?,
        request::Flip::Candidate { generation, .. } => {
            publish::flip(env, dataset, generation, Trigger::Operator).await?
        }
        request::Flip::Rollback { generation, reason, .. } => {
            publish::rollback(env, dataset, generation, reason).await?
        }
        request::Flip::Hold { reason, .. } => {
            publish::hold(env, dataset, reason).await?;
            return loaded(env, dataset, Outcome::Held).await;
        }
        request::Flip::Release { reason, .. } => {
            publish::release(env, dataset, reason).await?;
            return loaded(env, dataset, Outcome::Status).await;
        }
        request::Flip::Changed(_) => match publish::detect_and_repair(env, dataset).await? {
            Some(ended) => ended,
            None => FlipReport {
                outcome: Outcome::Status,
                live: publish::live(env, dataset).await?,
                previous: None,
                reasons: Vec::new(),
                checks: Vec::new(),
            },
        },
        request::Flip::Status { .. } => return loaded(env, dataset, Outcome::Status).await,
    };
    Ok(Flipped::new(&dataset.name, ended))
}

/// Returns the dataset's status, with the outcome of the request.
async fn loaded(env: &Environment, dataset: &Dataset, outcome: Outcome) -> Result<Flipped> {
    let (ended, status) = status::status(env, dataset).await?;
    Ok(Flipped { outcome, status: Some(status), ..Flipped::new(&dataset.name, ended) })
}

/// Returns the error that reports a rejected candidate. The metric `Rejected` has an alarm, and `status` lists the
/// candidate.
fn rejected(answer: &Flipped) -> Error {
    if let Some(group) = &answer.group {
        let reasons = answer.reasons.join("; ");
        let run = group.run.as_deref().unwrap_or("the candidate");
        return Error::rejected(format!("group {}: {run} was rejected: {reasons}", group.name));
    }
    let live = answer.live.as_deref();
    let live = live.map_or_else(|| "there is still no table".into(), |live| format!("{live} stays live"));
    Error::rejected(format!("{}: the candidate was rejected, {live}: {}", answer.dataset, answer.reasons.join("; ")))
}

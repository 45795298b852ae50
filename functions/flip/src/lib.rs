//! `flip`: audits a candidate and makes it live in one call, and handles operators' requests: rollback, hold, release,
//! status.

mod group;

use std::time::Instant;

use serde_json::{Value, json};
use tracing::{error, info};
use turntable::{
    answer::{Flipped, Told},
    config::Dataset,
    decision::Who,
    environment::World,
    error::{Error, Result},
    layout::TableName,
    metric::{Metric, emit},
    publish::{self, Ended, Outcome},
    request, status,
};

/// Handles a request for one dataset, or for the status of all.
pub async fn answer(world: World, event: Value) -> Result<Told> {
    if !request::is_about_all(&event) {
        return handle(world, event).await.map(|flipped| Told::One(Box::new(flipped)));
    }
    let started = Instant::now();
    let overview = status::overview(&world, &world.config().await?).await;
    let (datasets, attention) = (overview.datasets.len(), overview.attention.len());
    info!(datasets, attention, seconds = started.elapsed().as_secs_f64(), "status");
    Ok(Told::All(overview))
}

/// Handles a request for one dataset.
pub async fn handle(world: World, event: Value) -> Result<Flipped> {
    let started = Instant::now();
    let request = request::Flip::parse(&event)?;
    let config = world.config().await?;
    let dataset = match &request {
        request::Flip::Changed(table) => match config.dataset_of(table) {
            Some(dataset) => dataset,
            None => return Ok(nobodys(table)),
        },
        request::Flip::Manifest(home, _) => config.dataset_at(home)?,
        request::Flip::Candidate { dataset, .. }
        | request::Flip::Rollback { dataset, .. }
        | request::Flip::Hold { dataset, .. }
        | request::Flip::Release { dataset, .. }
        | request::Flip::Status { dataset } => config.dataset(dataset)?,
    };
    let by_event = matches!(request, request::Flip::Manifest(..) | request::Flip::Changed(_));
    let candidate = request.generation().map(|generation| generation.to_string());
    let answer = match config.group_of(dataset) {
        Some(group) => group::act(&world, &group, dataset, request).await,
        None => act(&world, dataset, request).await,
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
            emit(world.clock.now(), &answer.dataset, &[(Metric::Rejected, 1.0)]);
            let rejected = rejected(&answer).of(&answer.dataset);
            if by_event {
                // An error would make Lambda retry twice, with the same result, and count one rejection as three.
                error!(dataset = answer.dataset, kind = rejected.kind().as_str(), error = rejected.report(), "failed");
                return Ok(answer);
            }
            Err(rejected)
        }
        Outcome::Swapped => {
            emit(world.clock.now(), &answer.dataset, &[(Metric::FlipTime, started.elapsed().as_secs_f64())]);
            Ok(answer)
        }
        _ => Ok(answer),
    }
}

/// Returns the answer for a table of no dataset: the EventBridge rule matches every table in the account.
fn nobodys(table: &TableName) -> Flipped {
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
async fn act(world: &World, dataset: &Dataset, request: request::Flip) -> Result<Flipped> {
    let ended = match request {
        request::Flip::Manifest(_, generation) => publish::flip(world, dataset, generation, Who::Event).await?,
        request::Flip::Candidate { generation, .. } => publish::flip(world, dataset, generation, Who::Operator).await?,
        request::Flip::Rollback { generation, reason, .. } => {
            publish::rollback(world, dataset, generation, reason).await?
        }
        request::Flip::Hold { reason, .. } => {
            publish::hold(world, dataset, reason).await?;
            return look(world, dataset, Outcome::Held).await;
        }
        request::Flip::Release { reason, .. } => {
            publish::release(world, dataset, reason).await?;
            return look(world, dataset, Outcome::Status).await;
        }
        request::Flip::Changed(_) => match publish::watch(world, dataset).await? {
            Some(ended) => ended,
            None => Ended {
                outcome: Outcome::Status,
                live: publish::live(world, dataset).await?,
                previous: None,
                reasons: Vec::new(),
                checks: Vec::new(),
            },
        },
        request::Flip::Status { .. } => return look(world, dataset, Outcome::Status).await,
    };
    Ok(Flipped::new(&dataset.name, ended))
}

/// Returns the dataset's status, with the outcome of the request.
async fn look(world: &World, dataset: &Dataset, outcome: Outcome) -> Result<Flipped> {
    let (ended, status) = status::status(world, dataset).await?;
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

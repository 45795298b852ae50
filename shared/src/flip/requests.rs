//! Handles requests to `flip`, and reports their outcomes.

use std::time::Instant;

use serde_json::json;
use tracing::{error, info, warn};
use turntable_core::{
    config::{Config, Dataset},
    error::{Error, Result},
    layout::TableName,
};
use turntable_events as request;

use super::{answer::Flipped, dataset, group};
use crate::{
    config_faults,
    environment::Environment,
    metric::{Metric, emit},
    publish::{
        FlipReport, Outcome, relocate, rename,
        retire::{self, Decided, Retirement},
        views,
    },
    status::{self, Overview},
};

/// Handles a request for one dataset or its group, and reports the outcome in the log, the metrics and the response.
/// Fails if an operator's request is rejected, or if it was not sent to the operator's alias; a rejected event is only
/// reported.
pub async fn carry_out(env: &Environment, request: request::Flip) -> Result<Flipped> {
    let started = Instant::now();
    if let Some(wanted) = request.of_operator() {
        env.ensure_operator(wanted)?;
    }
    let config = env.config().await?;
    config_faults::report(env, &config);
    if matches!(request, request::Flip::Retire { .. } | request::Flip::Rename { .. }) {
        // Only the complete file shows whether a table is no longer configured, so no entry may have faults.
        config.ensure_valid()?;
    }
    let request = match request {
        request::Flip::Retire { dataset, table, reason } => {
            let decided = Decided { old_table: table, why: reason, renamed_to: None, moved_to: None };
            let ended = retire::retire(env, &config, &dataset, &decided).await.map_err(|error| error.of(&dataset))?;
            return Ok(ended_table(Outcome::Retired, ended));
        }
        request::Flip::Rename { dataset, from, table, reason } => {
            let decided = Decided { old_table: table, why: reason, renamed_to: None, moved_to: None };
            let target = config.dataset(&dataset)?;
            let ended =
                rename::rename(env, &config, target, &from, decided).await.map_err(|error| error.of(&dataset))?;
            return Ok(ended_table(Outcome::Renamed, ended));
        }
        request::Flip::Move { dataset, from, reason } => {
            let target = config.dataset(&dataset)?;
            let ended = relocate::relocate(env, &config, target, &from, &reason).await;
            return Ok(ended_table(Outcome::Moved, ended.map_err(|error| error.of(&dataset))?));
        }
        request => request,
    };
    let target = match &request {
        request::Flip::Changed(table) => match config.dataset_of(table) {
            Some(dataset) => dataset,
            None => return view_or_unmanaged(env, &config, table).await,
        },
        request::Flip::Manifest(paths, _) => match config.inbox_around(paths.location()) {
            Some(inbox) => return Ok(drop_in(inbox)),
            None => config.dataset_at(paths)?,
        },
        request::Flip::Candidate { dataset, .. }
        | request::Flip::Rollback { dataset, .. }
        | request::Flip::Hold { dataset, .. }
        | request::Flip::Release { dataset, .. }
        | request::Flip::Retire { dataset, .. }
        | request::Flip::Rename { dataset, .. }
        | request::Flip::Move { dataset, .. }
        | request::Flip::Status { dataset } => config.dataset(dataset)?,
    };
    let by_event = matches!(request, request::Flip::Manifest(..) | request::Flip::Changed(_));
    let candidate = request.generation().map(|generation| generation.to_string());
    let answer = match config.group_of(target) {
        Some(group) => group::act(env, &group, target, request).await,
        None => dataset::act(env, target, request).await,
    };
    let answer = answer.map_err(|failure| failure.of(&target.name))?;
    info!(
        dataset = answer.dataset,
        candidate,
        outcome = %answer.outcome,
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
                // If this returned an error, Lambda would retry the event twice, to no effect, and one rejection would
                // count as three.
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

/// Logs and returns the response to a request about an old table.
fn ended_table(outcome: Outcome, ended: Retirement) -> Flipped {
    let Retirement { dataset, live, reasons, stays } = ended;
    info!(dataset, %outcome, ?reasons, "flip");
    let report = FlipReport { outcome, live, previous: None, reasons, checks: Vec::new() };
    Flipped { stays, ..Flipped::new(&dataset, report) }
}

/// Returns the status of all datasets.
pub async fn status_of_all(env: &Environment) -> Result<Overview> {
    let started = Instant::now();
    let config = env.config().await?;
    let overview = status::overview(env, &config).await;
    let (datasets, attention) = (overview.datasets.len(), overview.attention.len());
    info!(datasets, attention, seconds = started.elapsed().as_secs_f64(), "status");
    Ok(overview)
}

/// Handles a change to a table that no dataset publishes to. If it is one of Turntable's views, restores its
/// definition.
async fn view_or_unmanaged(env: &Environment, config: &Config, table: &TableName) -> Result<Flipped> {
    let change = match (config.protected_by_view(table), config.optouts_by_view(table)) {
        (Some(protected), _) => views::keep_protected(env, protected, None, None).await?,
        (None, Some(optouts)) => views::keep_active(env, &optouts, None).await?,
        (None, None) => return Ok(unmanaged_table(table)),
    };
    let Some(change) = change else {
        return Ok(Flipped { reasons: vec!["the view is what it should be".into()], ..unmanaged_table(table) });
    };
    warn!(view = %change.view, "view drift repaired");
    emit(env.clock.now(), &table.to_string(), &[(Metric::ViewDrift, 1.0)]);
    let reason =
        format!("{}: something outside Turntable changed or dropped this view, and it was restored", change.view);
    Ok(Flipped { reasons: vec![reason], ..unmanaged_table(table) })
}

/// Returns the response for a drop whose key looks like a manifest's. Applications that write into an inbox choose the
/// keys, so no key may cause a failure here. `optout` reads the drop.
fn drop_in(inbox: &Dataset) -> Flipped {
    Flipped {
        dataset: inbox.name.clone(),
        reasons: vec!["the object is a drop in this dataset's inbox, not a manifest".into()],
        ..unmanaged_table(&inbox.table)
    }
}

/// Returns the response for a table that no dataset publishes to. There are events for such tables because the
/// EventBridge rule matches every table in the account.
fn unmanaged_table(table: &TableName) -> Flipped {
    Flipped {
        dataset: table.to_string(),
        outcome: Outcome::Status,
        live: None,
        previous: None,
        reasons: vec!["no dataset publishes to this table".into()],
        checks: Vec::new(),
        stays: Vec::new(),
        status: None,
        group: None,
    }
}

/// Returns the error for a rejected candidate. The alarm on the metric `Rejected` and `status` report the candidate
/// too.
fn rejected(answer: &Flipped) -> Error {
    if let Some(group) = &answer.group {
        let reasons = answer.reasons.join("; ");
        let run = group.run.as_deref().map_or_else(|| "the candidate".into(), |run| format!("run {run}"));
        return Error::rejected(format!("group {}: {run} was rejected: {reasons}", group.name));
    }
    let live = answer.live.as_deref();
    let live = live.map_or_else(|| "there is still no table".into(), |live| format!("{live} stays live"));
    Error::rejected(format!(
        "{}: the candidate was rejected, and {live}: {}",
        answer.dataset,
        answer.reasons.join("; ")
    ))
}

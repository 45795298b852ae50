//! Refreshes one dataset, and reports the result in the log, the metrics and the answer.

use std::time::Instant;

use tracing::{error, info};
use turntable_core::{
    config::{Dataset, Inbox, Source},
    error::{Error, Result},
};

use super::{answer::OptedOut, environment::Optout, options::RefreshOptions, refresh::refresh, views};
use crate::{
    environment::Environment,
    metric::{Metric, emit},
    publish::Outcome,
};

/// When a refresh also creates and updates the views. A refresh for messages in the queue does so only for a new table,
/// so that drops never wait for views.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Views {
    Always,
    OfNewTable,
}

/// Refreshes one dataset, logs the result and emits its metrics. Fails if the merge is rejected. A view that can't be
/// created is only reported.
pub(super) async fn refresh_one(
    optout: &Optout,
    dataset: &Dataset,
    ask: &RefreshOptions,
    views: Views,
) -> Result<OptedOut> {
    let started = Instant::now();
    let Source::Inbox(inbox) = &dataset.source else {
        return Err(Error::input(format!("datasets.{}.source is not an inbox: invoke export instead", dataset.name)));
    };
    let refreshed = refresh(&optout.env, dataset, inbox, ask).await?;
    let wanted = views == Views::Always || refreshed.created;
    let (took, lag) = (refreshed.took, refreshed.lag.map(|lag| lag.as_secs_f64()));
    let mut answer = OptedOut::new(&dataset.name, refreshed);
    if wanted && answer.outcome != Outcome::Rejected {
        answer.reasons.extend(ensure_views(&optout.env, dataset, inbox).await);
    }
    info!(
        dataset = answer.dataset,
        outcome = %answer.outcome,
        generation = answer.generation.as_ref().map(ToString::to_string),
        drops = answer.drops,
        applied = answer.applied,
        rejected = answer.rejected,
        rows = answer.rows,
        reasons = ?answer.reasons,
        lag,
        look = took.load.as_secs_f64(),
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

/// Creates the views that are missing or outdated. If that fails, returns a message instead of an error, because the
/// flip stands and the next scheduled refresh tries again.
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

//! Refreshes one dataset, and reports the result in the log, the metrics and the answer.

use std::time::Instant;

use tracing::info;
use turntable_core::{
    config::{Dataset, Source},
    error::{Error, Result},
};

use super::{
    answer::OptedOut,
    environment::Optout,
    options::RefreshOptions,
    refresh::refresh,
    views::{self, Kept},
};
use crate::{
    metric::{Metric, emit},
    publish::Outcome,
};

/// When a refresh also compares the views with their definitions. A refresh for queue messages does so only if it has
/// made the views outdated, so that drops never wait for views.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Views {
    Always,
    IfOutdated,
}

/// Refreshes one dataset, logs the result and emits its metrics. Fails if the merge is rejected. A view that can't be
/// written is only reported: the flip isn't undone, and the next scheduled refresh tries to write the view again.
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
    let refreshed = match refresh(&optout.env, dataset, inbox, ask).await {
        Ok(refreshed) => refreshed,
        Err(error) => {
            // The views must not wait until the inbox can be refreshed again.
            if views == Views::Always {
                let kept = views::keep(&optout.env, dataset, false).await;
                emit_drift(optout, dataset, &kept, false);
            }
            return Err(error);
        }
    };
    let outdated = refreshed.views_outdated;
    let is_current = matches!(refreshed.outcome, Outcome::Committed | Outcome::AlreadyLive)
        && refreshed.is_all()
        && refreshed.held_back == 0;
    let (took, lag) = (refreshed.took, refreshed.lag.map(|lag| lag.as_secs_f64()));
    let mut answer = OptedOut::new(&dataset.name, refreshed);
    let mut kept = Kept::default();
    if (views == Views::Always || outdated) && answer.outcome != Outcome::Rejected {
        kept = views::keep(&optout.env, dataset, is_current).await;
        answer.reasons.extend(kept.faults.iter().cloned());
    }
    info!(
        dataset = answer.dataset,
        outcome = %answer.outcome,
        generation = answer.generation.as_ref().map(ToString::to_string),
        drops = answer.drops,
        applied = answer.applied,
        rejected = answer.rejected,
        returning = answer.returning,
        held_back = answer.held_back,
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
    emit_drift(optout, dataset, &kept, outdated);
    let metrics: Vec<_> =
        lag.map(|lag| (Metric::OptoutLag, lag)).into_iter().chain(rejected).chain(returning(&answer)).collect();
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

/// Returns the metrics about people whom the refresh has opted back in, or whom held-back drops would opt back in.
fn returning(answer: &OptedOut) -> impl Iterator<Item = (Metric, f64)> {
    let counted = [(Metric::Returning, answer.returning), (Metric::HeldReturning, answer.held_back)];
    counted.into_iter().filter(|(_, people)| *people > 0).map(|(metric, people)| (metric, people as f64))
}

/// Emits the number of views that had drifted or could not be written. Views that didn't exist before don't count. If
/// `outdated` says that the refresh itself has made the views outdated, no view counts as drifted.
fn emit_drift(optout: &Optout, dataset: &Dataset, kept: &Kept, outdated: bool) {
    let drifted = kept.written.iter().filter(|view| view.replaced && !outdated).count() + kept.faults.len();
    if drifted > 0 {
        emit(optout.env.clock.now(), &dataset.name, &[(Metric::ViewDrift, drifted as f64)]);
    }
}

//! Makes a complete generation live. Exports, merges and operators all use this path.

use turntable_core::{
    config::Dataset,
    decision::{self, Decision, Trigger},
    error::Result,
    layout::Generation,
    manifest::Manifest,
    record::{FlipOrigin, Hold},
};

use super::{
    attempts::Attempts,
    audit::Audit,
    canary, column_statistics,
    commit::{Committed, commit},
    manifests::candidate,
    operator,
    report::{Cause, FlipReport, Outcome},
    table_state::{self, TableState},
    verdict, verify,
};
use crate::environment::Environment;

/// The outcome of one attempt to make a candidate live.
pub enum Attempt {
    Committed(Committed),
    /// Another writer was first: reload and retry.
    LostRace,
    AlreadyLive(TableState),
    Held(Hold, TableState),
    /// The candidate must not replace live. Has the reason.
    Stale(String, TableState),
    Rejected(Vec<String>, TableState),
}

/// Makes one attempt to make a candidate live: decide → audit → commit.
pub async fn attempt(
    env: &Environment,
    dataset: &Dataset,
    candidate: &Manifest,
    (trigger, cause): (Trigger, &Cause),
    loaded: TableState,
    audit: &mut Audit,
) -> Result<Attempt> {
    match decision::flip(&dataset.paths, candidate, &loaded.state, trigger)? {
        Decision::AlreadyLive => return Ok(Attempt::AlreadyLive(loaded)),
        Decision::Held(hold) => return Ok(Attempt::Held(hold, loaded)),
        Decision::Stale(why) => return Ok(Attempt::Stale(why, loaded)),
        Decision::Flip => {}
    }
    let (next, reasons) = audit.run(env, dataset, candidate, &loaded).await?;
    if !reasons.is_empty() {
        return Ok(Attempt::Rejected(reasons, loaded));
    }
    let committed = commit(env, dataset, candidate, loaded, next, cause).await?;
    Ok(committed.map_or(Attempt::LostRace, Attempt::Committed))
}

/// Makes a complete generation live if the decision and the audit allow it, and runs the canary. Retries if another
/// writer was first.
pub async fn flip(
    env: &Environment,
    dataset: &Dataset,
    generation: Generation,
    trigger: Trigger,
) -> Result<FlipReport> {
    let candidate = candidate(env, dataset, &generation).await?;
    if let Some(run) = &candidate.group {
        let live = table_state::live(env, dataset).await?;
        let why = format!(
            "{generation} was exported with group {}, which the dataset has left: invoke export again",
            run.group
        );
        return Ok(FlipReport::unchanged(Outcome::Stale, &live, vec![why]));
    }
    let by = if trigger == Trigger::Event { FlipOrigin::Event } else { FlipOrigin::Operator };
    let cause = Cause { by, why: None, request_id: env.request_id() };
    let mut audit = Audit::Full(None);
    let mut restored = Vec::new();
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let loaded = TableState::at(env, dataset, &generation).await?;
        let attempt = attempt(env, dataset, &candidate, (trigger, &cause), loaded, &mut audit).await?;
        let unchanged =
            |outcome, loaded: &TableState, reasons| FlipReport::unchanged(outcome, &loaded.state.live, reasons);
        match attempt {
            Attempt::LostRace => {}
            Attempt::Held(hold, loaded) => return Ok(unchanged(Outcome::Held, &loaded, vec![hold.reason])),
            Attempt::Stale(why, loaded) => return Ok(unchanged(Outcome::Stale, &loaded, vec![why])),
            Attempt::Rejected(reasons, loaded) => {
                verdict::write(env, dataset, &generation, &reasons).await;
                let report = unchanged(Outcome::Rejected, &loaded, reasons);
                return Ok(FlipReport { checks: audit.scanned(), ..report });
            }
            Attempt::AlreadyLive(loaded) => {
                if trigger == Trigger::Operator && !operator::adopt(env, dataset, &loaded, generation, &cause).await? {
                    continue;
                }
                let edits = verify::edits(loaded.table.as_ref(), loaded.live_manifest.as_ref());
                let by_operator = trigger == Trigger::Operator && restored.is_empty() && !edits.is_empty();
                if let Some(table) = loaded.table.as_ref().filter(|_| by_operator) {
                    if verify::restore(env, dataset, table, &candidate).await? {
                        restored = edits;
                    }
                    continue;
                }
                let last = loaded.recover(env, dataset).await?.or_else(|| loaded.last_flip());
                let notes = restored.iter().map(|edit| format!("restored: {edit}")).collect();
                let report = FlipReport::unchanged(Outcome::AlreadyLive, &loaded.state.live, notes);
                return match last.filter(|(_, flip)| flip.to == generation) {
                    Some(flip) => canary::settle(env, dataset, &candidate, flip, report).await,
                    None => Ok(report),
                };
            }
            Attempt::Committed(Committed { ended, ulid, flip, .. }) => {
                let (adopted, report) = (flip.adopted.is_some(), FlipReport { checks: audit.scanned(), ..ended });
                let mut report = canary::settle(env, dataset, &candidate, (ulid, flip), report).await?;
                if adopted && report.outcome == Outcome::Committed {
                    report.reasons.extend(Box::pin(column_statistics::after_adoption(env, dataset)).await);
                }
                return Ok(report);
            }
        }
    }
}

//! Detects drift by comparing the table with the last flip record, and repairs it if the dataset says so. A table has
//! drifted when something outside Turntable has moved or changed it.
//!
//! # Why a repair never undoes a flip that Turntable made
//!
//! Detection reads in this order: the table with its `VersionId`, then `_returns/`, then the flip records. The repair
//! updates the table with that same `VersionId`. Suppose that the live generation has been live before, and that the
//! last flip record is for another generation ([`decision::drift`]). There are two ways in which Turntable itself may
//! be the cause:
//!
//! - Turntable brought the generation back before the table was read. Then it had written its intent to `_returns/`
//!   before it updated the table. Detection reads `_returns/` after the table, sees the intent, and reports no drift.
//!   Only flips by events write no intent, and an event never brings back a generation that has been live before.
//! - Turntable flips after the table was read and before the repair. Then the repair's `VersionId` is stale, its update
//!   fails, and everything is read again.

use tracing::warn;
use ulid::Ulid;

use super::{
    attempts::Attempts,
    audit::judge,
    commit::{commit, next_table},
    group,
    manifests::manifest,
    report::{Cause, FlipReport, Outcome},
    table_state::{self, TableHead, TableState, ensure_not_deleting},
};
use crate::{
    environment::Environment,
    metric::{Metric, emit},
};
use turntable_core::{
    config::{Checks, Dataset, OnDrift},
    decision::{self, Live},
    error::Result,
    layout::Generation,
    record::{Flip, FlipOrigin},
    table::TableVersion,
};

/// A table's drift: where the table is, and where its flip records say that it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What the table's location names now.
    pub live: Live,
    /// The generation that the last recorded flip made live.
    pub expected: Generation,
}

impl Drift {
    /// Returns the message that reports the drift to an operator.
    pub fn told(&self, dataset: &Dataset) -> String {
        let live =
            self.live.location(&dataset.paths).map_or_else(|| "gone".into(), |location| format!("at {location}"));
        format!(
            "{}: drift: the table is {live}, but its last recorded flip went to {}: something outside Turntable changed it",
            dataset.table, self.expected
        )
    }
}

/// Returns the drift and the table state that shows it, or `None` if there is no drift.
///
/// Fails as `Conflict` if the table changes during every attempt.
async fn detect(env: &Environment, dataset: &Dataset) -> Result<Option<(Drift, TableState)>> {
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let head = TableHead::now(env, dataset).await?;
        let returned = match head.live.generation() {
            Some(live) => table_state::returned(env, dataset, &live).await?,
            None => Vec::new(),
        };
        let hold = table_state::hold(env, dataset).await?;
        let loaded = head.finish(env, dataset, hold).await?;
        let mut flips = loaded.recorded();
        if let (None, Some((_, last))) = (loaded.state.live.generation(), flips.last()) {
            // If live is unmanaged, only the last flip record was loaded. That record may have been recovered late, so
            // the records since its generation are needed too.
            flips = table_state::flips(env, dataset, Some(last.to.ulid)).await?;
        }
        let live = loaded.state.live.clone();
        let Some(expected) = decision::drift(&dataset.paths, &live, &flips, &returned) else { return Ok(None) };
        // The records may include a flip that was made after the table was read. So it is drift only if the table is
        // unchanged.
        let now = env.catalog.table(&dataset.table).await?;
        let token = |table: Option<&TableVersion>| table.and_then(|table| table.token.clone());
        if token(now.as_ref()) == token(loaded.table.as_ref()) {
            return Ok(Some((Drift { live, expected }, loaded)));
        }
    }
}

/// Returns whether the table may have drifted, based on state that the caller has already loaded. That state doesn't
/// include `_returns/`, so `true` may be wrong: [`detect_drift`] decides. `false` is always right.
pub fn drift_suspected(dataset: &Dataset, live: &Live, flips: &[(Ulid, Flip)]) -> bool {
    decision::drift(&dataset.paths, live, flips, &[]).is_some()
}

/// Returns the drift that [`detect_and_repair`] would detect. Changes nothing.
pub async fn detect_drift(env: &Environment, dataset: &Dataset) -> Result<Option<Drift>> {
    Ok(detect(env, dataset).await?.map(|(drift, _)| drift))
}

/// Detects drift and reports it. Repairs it if the dataset says so and no hold prevents it.
///
/// Returns `None` if there is no drift.
pub async fn detect_and_repair(env: &Environment, dataset: &Dataset) -> Result<Option<FlipReport>> {
    let mut told: Option<String> = None;
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let Some((drift, loaded)) = detect(env, dataset).await? else {
            return Ok(None);
        };
        if told.is_none() {
            warn!(dataset = dataset.name, expected = %drift.expected, repair = ?dataset.on_drift, "drift");
            emit(env.clock.now(), &dataset.name, &[(Metric::Drift, 1.0)]);
        }
        let told = told.insert(drift.told(dataset)).clone();
        let stays = |outcome, more: Vec<String>| {
            let reasons = [vec![told.clone()], more].concat();
            Ok(Some(FlipReport::unchanged(outcome, &drift.live, reasons)))
        };
        if dataset.on_drift == OnDrift::Report {
            return stays(Outcome::Status, Vec::new());
        }
        if let Some(hold) = &loaded.state.hold {
            return stays(Outcome::Held, vec![hold.reason.clone()]);
        }
        if let Some(why) = group::against_repair(env, dataset, drift.expected).await? {
            return stays(Outcome::Status, vec![why]);
        }
        if drift.live == Live::NoTable && !dataset.create {
            return stays(Outcome::Status, vec!["the dataset has create = false: create the table".into()]);
        }
        ensure_not_deleting(env, dataset, &drift.expected).await?;
        let Some(target) = manifest(env, dataset, &drift.expected).await? else {
            return stays(
                Outcome::Rejected,
                vec![format!("{} can't be restored: its manifest is gone", drift.expected)],
            );
        };
        // As in a rollback, only the structure is audited: the generation passed its checks before it went live.
        let policy = dataset.schema.back();
        let reasons = judge(env, &target, &loaded, &Checks::default(), policy).await?.reasons();
        if !reasons.is_empty() {
            return stays(Outcome::Rejected, reasons);
        }
        let input = next_table(dataset, &loaded, &target, policy);
        let cause = Cause { by: FlipOrigin::Repair, why: Some(told.clone()) };
        if let Some(swapped) = commit(env, dataset, &target, loaded, input, &cause).await? {
            return Ok(Some(FlipReport { reasons: vec![told], ..swapped.ended }));
        }
    }
}

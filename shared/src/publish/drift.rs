//! Detects drift and repairs it if the dataset's `on_drift` says so. A table has drifted if something outside Turntable
//! moved or deleted it, so that it is not where its flip records say that it should be.
//!
//! # Why a repair never undoes a flip that Turntable made
//!
//! Detection reads the table with its `VersionId`, then `_returns/`, then the flip records. The repair updates the
//! table only if it still has that `VersionId`. Suppose that the live generation has been live before, and that the
//! last flip record names another generation, which looks like drift ([`decision::drift`]). If Turntable itself made
//! the last move, there are two cases:
//!
//! - Turntable brought the generation back before detection read the table. Before such an update, Turntable writes its
//!   intent to `_returns/`, which detection reads after the table. So detection finds the intent and reports no drift.
//!   Only flips by events write no intent, and an event never brings back a generation that has been live before.
//! - Turntable flips the table after detection read it and before the repair. Then the repair's `VersionId` is stale,
//!   so the repair's update fails, and everything is read again.

use tracing::warn;
use ulid::Ulid;

use super::{
    attempts::Attempts,
    audit::judge,
    commit::{commit, next_table},
    group,
    manifests::manifest,
    published,
    report::{Cause, FlipReport, Outcome},
    table_state::{self, TableHead, TableState, ensure_not_deleting},
    views,
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

/// Where a drifted table is, and where its flip records say that it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What the table's `Location` names now.
    pub live: Live,
    /// The generation that should be live, according to the flip records.
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

/// Returns the drift, with the table state in which it was found, or `None` if there is no drift.
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
            // If no managed generation is live, only the last flip record has been loaded. It may be a recovered one,
            // written long after its flip, so the records since the start of its generation are needed too.
            flips = table_state::flips(env, dataset, Some(last.to.ulid)).await?;
        }
        let live = loaded.state.live.clone();
        let Some(expected) = decision::drift(&dataset.paths, &live, &flips, &returned) else { return Ok(None) };
        // The loaded records may include a flip that was made after the table was read. So there is drift only if the
        // table has not changed since.
        let now = env.catalog.table(&dataset.table).await?;
        let token = |table: Option<&TableVersion>| table.and_then(|table| table.token.clone());
        if token(now.as_ref()) == token(loaded.table.as_ref()) {
            return Ok(Some((Drift { live, expected }, loaded)));
        }
    }
}

/// Returns whether the table may have drifted, based on state that the caller has already loaded. That state does not
/// include the intents in `_returns/`, so `true` may be a false alarm, and [`detect_drift`] must confirm it. `false`
/// needs no confirmation.
pub fn drift_suspected(dataset: &Dataset, live: &Live, flips: &[(Ulid, Flip)]) -> bool {
    decision::drift(&dataset.paths, live, flips, &[]).is_some()
}

/// Detects drift as [`detect_and_repair`] does, but neither reports nor repairs it. Returns `None` if there is no
/// drift.
pub async fn detect_drift(env: &Environment, dataset: &Dataset) -> Result<Option<Drift>> {
    Ok(detect(env, dataset).await?.map(|(drift, _)| drift))
}

/// Detects drift, and reports it in the log, in a metric and in the returned report. Repairs it if the dataset's
/// `on_drift` says so, unless something prevents the repair, such as a hold. The report then says what.
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
        if let Some(why) = published::against(env, dataset, &drift.live, &target).await? {
            return stays(Outcome::Status, vec![why]);
        }
        // As in a rollback, only the structure is audited: the generation passed its checks before it went live.
        let policy = dataset.schema.back();
        let input = next_table(dataset, &loaded, &target, policy);
        let mut reasons = judge(env, &target, &loaded, &Checks::default(), policy).await?.reasons();
        reasons.extend(views::against(env, dataset, &input).await?);
        if !reasons.is_empty() {
            return stays(Outcome::Rejected, reasons);
        }
        let cause = Cause { by: FlipOrigin::Repair, why: Some(told.clone()) };
        if let Some(swapped) = commit(env, dataset, &target, loaded, input, &cause).await? {
            return Ok(Some(FlipReport { reasons: vec![told], ..swapped.ended }));
        }
    }
}

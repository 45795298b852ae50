//! Detects drift, which [`super::repair`] repairs if the dataset's `on_drift` says so. A table has drifted if something
//! outside Turntable moved or deleted it, so that it isn't where it should be according to its flip records.
//!
//! # Why a repair never undoes a flip that Turntable made
//!
//! Detection reads the table with its `VersionId`, then `_returns/`, then the flip records. The repair updates the
//! table only if it still has that `VersionId`. Suppose that the live generation has been live before, and that the
//! last flip record names another generation, which looks like drift ([`decision::drift`]). If it was Turntable that
//! made the last move, there are two cases:
//!
//! - Turntable brought the generation back before detection read the table. Before such an update, Turntable writes its
//!   intent to `_returns/`, which detection reads after the table. So detection finds the intent and reports no drift.
//!   Only flips by events write no intent, and an event never brings back a generation that has been live before.
//! - Turntable flips the table after detection read it and before the repair. Then the repair's `VersionId` is stale,
//!   so the repair's update fails, and everything is read again.

use ulid::Ulid;

use super::{
    attempts::Attempts,
    table_state::{self, TableHead, TableState},
};
use crate::environment::Environment;
use turntable_core::{
    config::Dataset,
    decision::{self, Live},
    error::Result,
    layout::Generation,
    record::Flip,
    table::TableVersion,
};

/// Where a drifted table is, and where it should be according to its flip records.
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

/// Returns the drift, or `None` if there is none, and the table state that this is based on.
///
/// Fails with `Conflict` if the table changes during every attempt.
pub(super) async fn detect(env: &Environment, dataset: &Dataset) -> Result<(Option<Drift>, TableState)> {
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let head = TableHead::now(env, dataset).await?;
        let returned = match head.live.generation() {
            Some(live) => table_state::returned(env, dataset, &live).await?,
            None => Vec::new(),
        };
        let hold = table_state::hold(env, dataset, &head.live).await?;
        let loaded = head.finish(env, dataset, hold).await?;
        let mut flips = loaded.recorded();
        if let (None, Some((_, last))) = (loaded.state.live.generation(), flips.last()) {
            // If no managed generation is live, only the last flip record has been loaded. It may have been recovered
            // long after its flip, so the records since the start of its generation are needed too.
            flips = table_state::flips(env, dataset, Some(last.to.ulid)).await?;
        }
        let live = loaded.state.live.clone();
        if loaded.state.moved_away.is_some() {
            return Ok((None, loaded));
        }
        let Some(expected) = decision::drift(&dataset.paths, &live, &flips, &returned) else {
            return Ok((None, loaded));
        };
        // The loaded records may include a flip that was made after the table was read. So there is drift only if the
        // table has not changed since.
        let now = env.catalog.table(&dataset.table).await?;
        let token = |table: Option<&TableVersion>| table.and_then(|table| table.token.clone());
        if token(now.as_ref()) == token(loaded.table.as_ref()) {
            return Ok((Some(Drift { live, expected }), loaded));
        }
    }
}

/// Returns whether the table may have drifted, based on state that the caller has already loaded. That state does not
/// include the intents in `_returns/`, so `true` may be a false alarm, and [`detect_drift`] must confirm it. `false`
/// needs no confirmation.
pub fn drift_suspected(dataset: &Dataset, live: &Live, flips: &[(Ulid, Flip)]) -> bool {
    decision::drift(&dataset.paths, live, flips, &[]).is_some()
}

/// Detects drift as [`super::detect_and_repair`] does, but neither reports nor repairs it. Returns `None` if there is
/// no drift.
pub async fn detect_drift(env: &Environment, dataset: &Dataset) -> Result<Option<Drift>> {
    Ok(detect(env, dataset).await?.0)
}

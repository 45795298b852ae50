//! Reports faults in a live table, and repairs them if the dataset's `on_drift` says so.
//!
//! | fault | repair |
//! |---|---|
//! | drift: something outside Turntable moved or deleted the table | a flip to the generation in the flip records |
//! | the table was edited: its columns, projection or format | one `UpdateTable` on the version that was compared |
//! | files in the live generation were lost or changed | a flip to the newest complete generation that was live before |
//!
//! Files that somebody added are only reported, because only sweep may delete anything.

use std::collections::BTreeSet;

use tracing::{error, warn};
use turntable_core::{
    config::{Checks, Dataset, OnDrift},
    decision::{self, Live},
    error::Result,
    history::once_live,
    layout::Generation,
    record::{Flip, FlipOrigin},
};
use ulid::Ulid;

use super::{
    attempts::Attempts,
    audit::judge,
    commit::{commit, next_table},
    drift::detect,
    group,
    manifests::manifest,
    published,
    report::{Cause, FlipReport, Outcome},
    retired,
    table_state::{TableHead, TableState, ensure_not_deleting, flips},
    verify::{self, damaged, edited, edits, files, restore, shortened},
    views,
};
use crate::{
    environment::Environment,
    metric::{Metric, emit},
};

/// Detects drift and edits of the table, and reports them in the log, in a metric and in the returned report. Repairs
/// them if the dataset's `on_drift` says so. If something prevents the repair, such as a hold, the report says what.
/// Doesn't check the table's files: see [`verify_files`].
///
/// Returns `None` if there is neither drift nor an edit.
pub async fn detect_and_repair(env: &Environment, dataset: &Dataset) -> Result<Option<FlipReport>> {
    let mut told: Option<String> = None;
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let (drift, loaded) = detect(env, dataset).await?;
        let Some(drift) = drift else {
            return match repair_table(env, dataset, loaded, told.is_none()).await? {
                Repaired::LostRace => {
                    told.get_or_insert_default();
                    continue;
                }
                Repaired::Settled(report) => Ok(report),
            };
        };
        if told.is_none() {
            warn!(dataset = dataset.name, expected = %drift.expected, repair = ?dataset.on_drift, "drift");
            emit(env.clock.now(), &dataset.name, &[(Metric::Drift, 1.0)]);
        }
        let told = told.insert(drift.told(dataset)).clone();
        if dataset.on_drift == OnDrift::Report {
            return Ok(Some(FlipReport::unchanged(Outcome::Status, &drift.live, vec![told])));
        }
        if let Some(report) = go_back(env, dataset, loaded, drift.expected, told).await? {
            return Ok(Some(report));
        }
    }
}

/// Moves the table to a generation that was live before. Reports the move, or what prevents it. `told` is the message
/// about the fault that this repairs.
///
/// Returns `None` if another writer was first: reload and retry.
async fn go_back(
    env: &Environment,
    dataset: &Dataset,
    loaded: TableState,
    to: Generation,
    told: String,
) -> Result<Option<FlipReport>> {
    let live = loaded.state.live.clone();
    let stays = |outcome, more: Vec<String>| {
        let reasons = [vec![told.clone()], more].concat();
        Ok(Some(FlipReport::unchanged(outcome, &live, reasons)))
    };
    if let Some(hold) = &loaded.state.hold {
        return stays(Outcome::Held, vec![hold.reason.clone()]);
    }
    if let Some(why) = decision::backwards(&loaded.state, &to) {
        return stays(Outcome::Status, vec![why]);
    }
    if let Some(why) = group::against_repair(env, dataset, to).await? {
        return stays(Outcome::Status, vec![why]);
    }
    if live == Live::NoTable && !dataset.create {
        return stays(Outcome::Status, vec!["the dataset has create = false: create the table".into()]);
    }
    retired::release(env, &dataset.paths, &live).await?;
    ensure_not_deleting(env, dataset, &to).await?;
    let Some(target) = manifest(env, dataset, &to).await? else {
        return stays(Outcome::Rejected, vec![format!("{to} can't be restored: its manifest is gone")]);
    };
    if let Some(why) = published::against(env, dataset, &live, &target).await? {
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
    let cause = Cause { by: FlipOrigin::Repair, why: Some(told.clone()), request_id: env.request_id() };
    let committed = commit(env, dataset, &target, loaded, input, &cause).await?;
    Ok(committed.map(|committed| FlipReport { reasons: vec![told], ..committed.ended }))
}

/// The result of [`repair_table`].
enum Repaired {
    /// The report on the differences, or `None` if there are none.
    Settled(Option<FlipReport>),
    /// Another writer was first: reload and retry.
    LostRace,
}

/// Reports the differences between the table and its live generation's manifest, and repairs them if the dataset's
/// `on_drift` says so and there is no hold. `report` says whether to write them to the log and the metric.
async fn repair_table(env: &Environment, dataset: &Dataset, loaded: TableState, report: bool) -> Result<Repaired> {
    let found = edits(loaded.table.as_ref(), loaded.live_manifest.as_ref());
    let (Some(table), Some(live)) = (&loaded.table, &loaded.live_manifest) else { return Ok(Repaired::Settled(None)) };
    if found.is_empty() {
        return Ok(Repaired::Settled(None));
    }
    if report {
        warn!(dataset = dataset.name, ?found, repair = ?dataset.on_drift, "the live table was edited");
        emit(env.clock.now(), &dataset.name, &[(Metric::Drift, 1.0)]);
    }
    let mut reasons = vec![edited(dataset, &found)];
    let settled =
        |outcome, reasons| Ok(Repaired::Settled(Some(FlipReport::unchanged(outcome, &loaded.state.live, reasons))));
    if dataset.on_drift == OnDrift::Report {
        return settled(Outcome::Status, reasons);
    }
    if let Some(hold) = &loaded.state.hold {
        reasons.push(hold.reason.clone());
        return settled(Outcome::Held, reasons);
    }
    if !restore(env, dataset, table, live).await? {
        return Ok(Repaired::LostRace);
    }
    let now = env.catalog.table(&dataset.table).await?;
    if !now.as_ref().is_some_and(|now| verify::is_at(now, live)) {
        return Ok(Repaired::LostRace);
    }
    let left = edits(now.as_ref(), Some(live));
    if left.is_empty() {
        return settled(Outcome::Committed, reasons);
    }
    reasons.push(format!("not repaired: {}", left.join("; ")));
    settled(Outcome::Status, reasons)
}

/// Verifies the live generation's files, and reports differences in the log, in a metric and in the returned report. If
/// files are lost and the dataset's `on_drift` says so, moves the table back to the newest complete generation that was
/// live before; a group moves as a whole. A merge of opt-outs isn't moved, because its refresh rebuilds it.
///
/// Returns `None` if there is no difference, or if live is unmanaged.
pub async fn verify_files(env: &Environment, dataset: &Dataset) -> Result<Option<FlipReport>> {
    let mut told: Option<String> = None;
    let mut attempts = Attempts::on(&dataset.table);
    loop {
        attempts.begin()?;
        let head = TableHead::now(env, dataset).await?;
        let Some(live) = &head.live_manifest else { return Ok(None) };
        let found = files(env, live).await?;
        if found.found.is_empty() {
            return Ok(None);
        }
        let generation = live.generation;
        if told.is_none() {
            let files = shortened(&found.found);
            error!(dataset = dataset.name, %generation, lost = found.lost, files, "the live files are damaged");
            emit(env.clock.now(), &dataset.name, &[(Metric::DamagedLive, found.found.len() as f64)]);
        }
        let told = told.insert(damaged(dataset, generation, &found)).clone();
        let stays = |more: Option<&str>| {
            let reasons = [told.clone()].into_iter().chain(more.map(str::to_owned)).collect();
            Ok(Some(FlipReport::unchanged(Outcome::Status, &head.live, reasons)))
        };
        if dataset.on_drift == OnDrift::Report || !found.lost || live.merge.is_some() {
            return stays(None);
        }
        if dataset.group.is_some() {
            return Box::pin(group::restore(env, dataset, generation, &told)).await.map(Some);
        }
        let Some(target) = newest_complete(env, dataset, generation).await? else {
            return stays(Some("no complete generation is left that the table could go back to"));
        };
        let loaded = TableState::at(env, dataset, &target).await?;
        if loaded.state.live != head.live {
            continue;
        }
        if let Some(report) = go_back(env, dataset, loaded, target, told).await? {
            return Ok(Some(report));
        }
    }
}

/// Returns the newest generation other than `damaged` that was live and whose files all exist unchanged. Leaves out
/// generations that a rollback, a canary or the group has taken back, because their rows are known to be bad.
async fn newest_complete(env: &Environment, dataset: &Dataset, damaged: Generation) -> Result<Option<Generation>> {
    let recorded = flips(env, dataset, Some(Ulid::nil())).await?;
    let took_back = |flip: &Flip| matches!(flip.by, FlipOrigin::Rollback | FlipOrigin::Canary | FlipOrigin::Group);
    let bad = recorded.iter().filter(|(_, flip)| took_back(flip)).filter_map(|(_, flip)| flip.from.as_ref());
    let bad: BTreeSet<Generation> = bad.filter_map(|from| dataset.paths.parse_generation(from)).collect();
    let may_come_back = |generation: &Generation| *generation != damaged && !bad.contains(generation);
    for generation in once_live(&recorded).into_iter().filter(may_come_back) {
        if env.objects.head(&dataset.paths.sweeping(&generation)).await?.is_some() {
            continue;
        }
        let Some(manifest) = manifest(env, dataset, &generation).await? else { continue };
        if files(env, &manifest).await?.found.is_empty() {
            return Ok(Some(generation));
        }
    }
    Ok(None)
}

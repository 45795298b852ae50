//! Moves a whole group back if files in one member's live generation were lost: to the newest run that was live before
//! and whose files all exist. So readers never see tables from different runs.

use std::collections::BTreeMap;

use turntable_core::{
    config::{Dataset, Group},
    decision::Live,
    error::Result,
    group::{self, Set},
    layout::Generation,
    record::FlipOrigin,
};

use super::{
    go_to::{go_to, has_members},
    record::record,
    resume, store,
};
use crate::{
    environment::Environment,
    publish::{
        attempts::Attempts,
        manifests::manifest,
        report::{FlipReport, Outcome},
        table_state,
        verify::files,
    },
};

/// Moves the group of `dataset` back, unless a hold prevents it or no complete run is left. Returns the report for this
/// dataset. `damaged` is its live generation, and `told` is the message about the lost files.
pub async fn restore(env: &Environment, dataset: &Dataset, damaged: Generation, told: &str) -> Result<FlipReport> {
    let config = env.config().await?;
    let stays =
        |outcome, why: String| FlipReport::unchanged(outcome, &Live::Managed(damaged), vec![told.to_owned(), why]);
    let Some(group) = config.dataset(&dataset.name).ok().and_then(|dataset| config.group_of(dataset)) else {
        return Ok(stays(Outcome::Status, "the dataset has left its group: export it again".into()));
    };
    let mut attempts = Attempts::on(group.name.record());
    loop {
        attempts.begin()?;
        let found = store::read(env, group.name).await?;
        if found.record.flipping.is_some() {
            resume::settle(env, &group, BTreeMap::new()).await?;
            continue;
        }
        let live = table_state::live(env, dataset).await?;
        if live != Live::Managed(damaged) {
            return Ok(FlipReport::unchanged(Outcome::Status, &live, vec![told.into()]));
        }
        let mut hold = found.record.held().cloned();
        for member in &group.members {
            // The member may have its own hold, set before it joined the group.
            let own = table_state::hold(env, member, &Live::NoTable).await?;
            hold = hold.or(own);
        }
        if let Some(hold) = hold {
            return Ok(stays(Outcome::Held, hold.reason));
        }
        let named = found.record.live.as_ref().and_then(|live| live.tables.get(&dataset.name));
        if let Some(named) = named.filter(|named| named.generation != damaged) {
            let why = format!("the record of group {} names {} as live", group.name, named.generation);
            return Ok(stays(Outcome::Status, why));
        }
        let Some(set) = newest_complete(env, &group, &found.record).await? else {
            let why = format!("no complete run of group {} is left that the tables could go back to", group.name);
            return Ok(stays(Outcome::Status, why));
        };
        let to = Set {
            since: env.clock.now(),
            by: FlipOrigin::Repair,
            why: Some(told.into()),
            request_id: env.request_id(),
            ..set
        };
        if let Some(ended) = go_to(env, &group, &found, &to).await? {
            let live = ended.live.get(&dataset.name).cloned().unwrap_or(Live::Managed(damaged));
            let reasons = [vec![told.to_owned()], ended.reasons].concat();
            let previous = ended.previous.get(&dataset.name).cloned();
            return Ok(FlipReport { outcome: ended.outcome, live, previous, reasons, checks: ended.checks });
        }
    }
}

/// Finishes a group's move back that a dead process has left unfinished, because no event would finish it. Returns a
/// message if there was such a move.
pub async fn finish(env: &Environment, dataset: &Dataset) -> Result<Option<String>> {
    let Some(record) = record(env, dataset).await? else { return Ok(None) };
    if record.flipping.is_none_or(|flipping| flipping.to.by != FlipOrigin::Repair) {
        return Ok(None);
    }
    let config = env.config().await?;
    let Some(group) = config.dataset(&dataset.name).ok().and_then(|dataset| config.group_of(dataset)) else {
        return Ok(None);
    };
    resume::settle(env, &group, BTreeMap::new()).await?;
    Ok(Some(format!("group {}: its move back because of lost files was unfinished, and is now finished", group.name)))
}

/// Returns the newest earlier set whose files are all there and unchanged, and that no rollback or repair has replaced.
async fn newest_complete(env: &Environment, group: &Group<'_>, record: &group::Record) -> Result<Option<Set>> {
    for set in record.not_taken_back() {
        if has_members(group, set) && is_complete(env, group, set).await? {
            return Ok(Some(set.clone()));
        }
    }
    Ok(None)
}

async fn is_complete(env: &Environment, group: &Group<'_>, set: &Set) -> Result<bool> {
    for member in &group.members {
        let Some(target) = set.tables.get(&member.name) else { return Ok(false) };
        if target.location != member.paths.generation(&target.generation)
            || env.objects.head(&member.paths.sweeping(&target.generation)).await?.is_some()
        {
            return Ok(false);
        }
        let Some(manifest) = manifest(env, member, &target.generation).await? else { return Ok(false) };
        if !files(env, &manifest).await?.found.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

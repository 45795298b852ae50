//! Makes a group run live.

use std::collections::BTreeMap;

use turntable_core::{
    config::{Dataset, Group},
    decision::Trigger,
    error::Result,
    group::{self, Next, Set},
    layout::Generation,
    manifest::{GroupRun, Manifest},
    record::FlipOrigin,
};

use super::{
    prepare::{self, GroupAudit, Prepared},
    report::GroupFlipReport,
    resume::{self, Settled},
    store,
};
use crate::{
    environment::Environment,
    publish::{
        attempts::Attempts,
        manifests::{candidate, manifest},
        report::Outcome,
        verdict,
    },
};

/// Makes the group run that contains `generation` of `dataset` live. Flips all members or none: the decision and the
/// audit for each member must allow it.
pub async fn flip(
    env: &Environment,
    group: &Group<'_>,
    dataset: &Dataset,
    generation: Generation,
    who: Trigger,
) -> Result<GroupFlipReport> {
    let named = candidate(env, dataset, &generation).await?;
    let Some(run) = &named.group else {
        let why = format!("{generation} of {} was exported without its group: invoke export again", dataset.name);
        return GroupFlipReport::unchanged(Outcome::Stale, None, vec![why]).with_live(env, group).await;
    };
    let unchanged = |outcome, reasons| GroupFlipReport::unchanged(outcome, Some(run.run), reasons);
    let names: Vec<&str> = group.members.iter().map(|member| member.name.as_str()).collect();
    if let Some(why) = group::other_members(run, &group.name.name, &names) {
        return unchanged(Outcome::Stale, vec![why]).with_live(env, group).await;
    }
    let last = run.last().filter(|last| who == Trigger::Event && *last != dataset.name);
    if let Some(last) = last {
        let why = format!("group {} flips when the last manifest, that of {last}, is written", run.group);
        return Ok(unchanged(Outcome::Waiting, vec![why]));
    }
    let candidates = match candidates(env, group, run).await? {
        Candidates::All(candidates) => candidates,
        Candidates::Missing(missing) => {
            let why = format!("no manifest yet for {}", missing.join(", "));
            return unchanged(Outcome::Waiting, vec![why]).with_live(env, group).await;
        }
    };
    let mut asked = BTreeMap::new();
    let mut attempts = Attempts::on(group.name.record());
    loop {
        attempts.begin()?;
        let found = store::read(env, group.name).await?;
        // Finish a flip in flight first, no matter which invocation started it.
        if found.record.flipping.is_some() {
            match resume::settle(env, group, BTreeMap::new()).await? {
                Settled::Done(ended) if ended.run == Some(run.run) => return Ok(ended),
                Settled::Done(_) | Settled::ByOthers => continue,
            }
        }
        let prepared = prepare::all(env, &candidates, who).await?;
        let decisions: Vec<_> = prepared.iter().map(Prepared::decision).collect();
        let ended =
            |outcome, reasons| Ok(GroupFlipReport { live: prepare::live(&prepared), ..unchanged(outcome, reasons) });
        match group::flip(&found.record, run, named.as_of, &decisions, who) {
            Next::AlreadyLive => {
                let notes = match who {
                    Trigger::Operator => prepare::restore_edits(env, &prepared).await?,
                    Trigger::Event => Vec::new(),
                };
                return ended(Outcome::AlreadyLive, notes);
            }
            Next::Held(hold) => return ended(Outcome::Held, vec![hold.reason]),
            Next::Stale(why) => return ended(Outcome::Stale, vec![why]),
            Next::WentBack(why) => return ended(Outcome::Rejected, vec![why]),
            Next::Flip => {}
        }
        let audited = prepare::audit(env, &prepared, &mut asked).await?;
        let checks = prepare::scanned(&asked);
        let inputs = match audited {
            GroupAudit::Passed(inputs) => inputs,
            GroupAudit::Rejected(reasons) => {
                for (member, manifest) in &candidates {
                    verdict::write(env, member, &manifest.generation, &reasons).await;
                }
                return ended(Outcome::Rejected, reasons).map(|ended| GroupFlipReport { checks, ..ended });
            }
        };
        let by = if who == Trigger::Event { FlipOrigin::Event } else { FlipOrigin::Operator };
        let from = prepared.iter().map(Prepared::at).collect();
        if !found.replace(env, group.name, &found.record.begin_flip(set(env, &candidates, run, by), from)).await? {
            continue;
        }
        let ready = prepare::ready(prepared, inputs);
        if let Settled::Done(ended) = resume::settle(env, group, ready).await? {
            return Ok(GroupFlipReport { checks: [checks, ended.checks].concat(), ..ended });
        }
    }
}

/// Returns the set of generations that the flip makes live.
fn set(env: &Environment, candidates: &[(&Dataset, Manifest)], run: &GroupRun, by: FlipOrigin) -> Set {
    let (as_of, since) = (candidates.iter().map(|(_, manifest)| manifest.as_of).min(), env.clock.now());
    let tables = candidates.iter().map(|(dataset, manifest)| {
        let (generation, location) = (manifest.generation, manifest.location.clone());
        let member = group::Member { table: dataset.table.to_string(), generation, location };
        (dataset.name.clone(), member)
    });
    Set {
        run: run.run,
        as_of: as_of.unwrap_or(since),
        since,
        by,
        why: None,
        request_id: env.request_id(),
        tables: tables.collect(),
    }
}

/// The manifests of a group run.
enum Candidates<'a> {
    All(Vec<(&'a Dataset, Manifest)>),
    /// The members that have no manifest yet.
    Missing(Vec<String>),
}

/// Reads all members' manifests.
async fn candidates<'a>(env: &Environment, group: &Group<'a>, run: &GroupRun) -> Result<Candidates<'a>> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for member in &group.members {
        let Some(generation) = run.members.get(&member.name) else { continue };
        match manifest(env, member, generation).await? {
            Some(manifest) => found.push((*member, manifest)),
            None => missing.push(member.name.clone()),
        }
    }
    Ok(if missing.is_empty() { Candidates::All(found) } else { Candidates::Missing(missing) })
}

//! Exports a group: builds all members from one snapshot of their database, and then writes all manifests.

use std::time::{Duration, Instant};

use turntable_core::{
    config::{Dataset, Group},
    error::{Error, Result},
    manifest::{GroupRun, Manifest},
};
use turntable_sources::Snapshot;

use super::{
    answer::{Exported, ExportedGroup},
    environment::Export,
    generation::{Build, NewGeneration},
    report::{GroupProgress, exported, out_of_time},
};
use crate::{deadline, publish};

/// Exports all members of a group, one after the other. Returns the answer for the requested member `asked`, including
/// the part about the whole group.
///
/// If any member can't be built, no manifest is written, so nothing is published.
pub async fn build(export: &Export, group: &Group<'_>, asked: &Dataset) -> Result<Exported> {
    let env = &export.env;
    let mut begun = Vec::new();
    for member in &group.members {
        begun.push(NewGeneration::begin(env, member).await?);
    }
    let members = begun.iter().map(|begun| (begun.dataset.name.clone(), begun.generation)).collect();
    let run = GroupRun { group: group.name.name.clone(), run: env.clock.ulid(), members };
    let mut built = Vec::new();
    for (mut manifest, took) in build_from_one_snapshot(export, group, begun).await? {
        manifest.group = Some(run.clone());
        built.push((manifest, took));
    }
    // The last manifest's event flips the group, so no manifest is written before all members are built.
    for (dataset, (manifest, _)) in group.members.iter().zip(&built) {
        publish::complete_new(env, dataset, manifest).await?;
    }
    let members: Vec<Exported> = built.into_iter().map(|(manifest, took)| exported(env, manifest, took)).collect();
    let own = members.iter().find(|member| member.dataset == asked.name).cloned();
    let own = own.ok_or_else(|| {
        Error::corrupt(format!("{} is not a member of its own group: this is a bug, please report it", asked.name))
    })?;
    let group = ExportedGroup { name: run.group, run: run.run.to_string(), members };
    Ok(Exported { group: Some(Box::new(group)), ..own })
}

/// Writes the data files of all members from one snapshot. Returns each member's manifest, which isn't written yet, and
/// the time that its build took.
async fn build_from_one_snapshot(
    export: &Export,
    group: &Group<'_>,
    begun: Vec<NewGeneration<'_>>,
) -> Result<Vec<(Manifest, Duration)>> {
    let Some(first) = group.members.first() else { return Ok(Vec::new()) };
    let started = Instant::now();
    let stopped =
        |done: usize| Some(GroupProgress { group: group.name.to_string(), members: group.members.len(), done });
    let first_context = export.context(first);
    let snapshot = tokio::select! {
        snapshot = Snapshot::take(&first.source, &first_context) => snapshot?,
        () = deadline::passed(export.deadline) => return Err(out_of_time(first, started, None, stopped(0))),
    };
    let mut built = Vec::new();
    for generation in begun {
        let (dataset, began) = (generation.dataset, Instant::now());
        let context = export.context(dataset);
        let opened = tokio::select! {
            opened = snapshot.open(&dataset.source, &context) => opened?,
            () = deadline::passed(export.deadline) => return Err(out_of_time(dataset, started, None, stopped(built.len()))),
        };
        match generation.write(export, opened).await? {
            Build::Complete(manifest) => built.push((*manifest, began.elapsed())),
            Build::OutOfTime(progress) => {
                return Err(out_of_time(dataset, started, Some(progress), stopped(built.len())));
            }
        }
    }
    snapshot.end().await;
    Ok(built)
}

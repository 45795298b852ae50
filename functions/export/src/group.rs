//! Exports a group: every member from one snapshot of their database, and all manifests last.

use std::{
    fmt,
    time::{Duration, Instant},
};

use turntable::{
    answer::{Exported, ExportedGroup},
    config::{Dataset, Group},
    error::{Error, Result},
    lambda,
    manifest::{GroupRun, Manifest},
    sources::Snapshot,
};

use super::{Export, NewGeneration, complete, context, out_of_time};

/// How far the export of a group came before its deadline.
pub struct Stopped {
    group: String,
    members: usize,
    done: usize,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}, {} of {} members done", self.group, self.done, self.members)
    }
}

/// Builds a generation of every member, one after the other. Returns the answer for the member `asked`.
///
/// If one member fails, nothing is published.
pub async fn build(export: &Export, group: &Group<'_>, asked: &Dataset) -> Result<Exported> {
    let env = &export.env;
    let mut head = Vec::new();
    for member in &group.members {
        head.push(NewGeneration::now(env, member).await?);
    }
    let members = head.iter().map(|head| (head.dataset.name.clone(), head.generation)).collect();
    let run = GroupRun { group: group.name.name.clone(), run: env.clock.ulid(), members };
    let mut built = Vec::new();
    for (mut manifest, took) in build_from_one_snapshot(export, group, head).await? {
        manifest.group = Some(run.clone());
        built.push((manifest, took));
    }
    // The last manifest's event flips the group, so no manifest is written before all members are built.
    for (dataset, (manifest, _)) in group.members.iter().zip(&built) {
        complete(env, dataset, manifest).await?;
    }
    let members: Vec<Exported> =
        built.into_iter().map(|(manifest, took)| super::exported(env, manifest, took)).collect();
    let own = members.iter().find(|member| member.dataset == asked.name).cloned();
    let own = own.ok_or_else(|| {
        Error::corrupt(format!("{} is not a member of its own group: this is a bug, please report it", asked.name))
    })?;
    let group = ExportedGroup { name: run.group, run: run.run.to_string(), members };
    Ok(Exported { group: Some(Box::new(group)), ..own })
}

/// Builds all members from one snapshot. Returns each manifest, not yet written, with the time that its build took.
async fn build_from_one_snapshot(
    export: &Export,
    group: &Group<'_>,
    head: Vec<NewGeneration<'_>>,
) -> Result<Vec<(Manifest, Duration)>> {
    let Some(first) = group.members.first() else { return Ok(Vec::new()) };
    let started = Instant::now();
    let stopped = |done: usize| Some(Stopped { group: group.name.to_string(), members: group.members.len(), done });
    let first_context = context(export, first);
    let snapshot = tokio::select! {
        snapshot = Snapshot::take(&first.source, &first_context) => snapshot?,
        () = lambda::passed(export.deadline) => return Err(out_of_time(first, started, None, stopped(0))),
    };
    let mut built = Vec::new();
    for head in head {
        let (dataset, began) = (head.dataset, Instant::now());
        let context = context(export, dataset);
        let opened = tokio::select! {
            opened = snapshot.open(&dataset.source, &context) => opened?,
            () = lambda::passed(export.deadline) => return Err(out_of_time(dataset, started, None, stopped(built.len()))),
        };
        match head.write(export, opened).await? {
            Ok(manifest) => built.push((manifest, began.elapsed())),
            Err(progress) => return Err(out_of_time(dataset, started, Some(progress), stopped(built.len()))),
        }
    }
    snapshot.end().await;
    Ok(built)
}

//! The export of a group: every member as of one snapshot of their database, and the manifests last.

use std::{
    fmt,
    time::{Duration, Instant},
};

use turntable::{
    answer::{Exported, ExportedGroup},
    config::{Dataset, Group},
    error::{Error, Result},
    lambda,
    manifest::{Manifest, Run},
    sources::Snapshot,
};

use super::{Begun, Export, complete, context, out_of_time};

/// Where the time was up.
pub struct Stopped {
    group: String,
    members: usize,
    done: usize,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of group {}, of whose {} members {} were done", self.group, self.members, self.done)
    }
}

/// Builds a generation of every member, one after the other. Where one of them fails, nothing is published.
pub async fn build(export: &Export, group: &Group<'_>, asked: &Dataset) -> Result<Exported> {
    let world = &export.world;
    let mut begun = Vec::new();
    for member in &group.members {
        begun.push(Begun::now(world, member).await?);
    }
    let members = begun.iter().map(|begun| (begun.dataset.name.clone(), begun.generation)).collect();
    let run = Run { group: group.name.name.clone(), run: world.clock.ulid(), members };
    let mut built = Vec::new();
    for (mut manifest, took) in built_as_of_one_moment(export, group, begun).await? {
        manifest.group = Some(run.clone());
        built.push((manifest, took));
    }
    // The last manifest is the word that all are there.
    for (dataset, (manifest, _)) in group.members.iter().zip(&built) {
        complete(world, dataset, manifest).await?;
    }
    let members: Vec<Exported> =
        built.into_iter().map(|(manifest, took)| super::exported(world, manifest, took)).collect();
    let own = members.iter().find(|member| member.dataset == asked.name).cloned();
    let own = own.ok_or_else(|| Error::corrupt(format!("{} is no member of its own group: a bug", asked.name)))?;
    let group = ExportedGroup { name: run.group, run: run.run.to_string(), members };
    Ok(Exported { group: Some(Box::new(group)), ..own })
}

async fn built_as_of_one_moment(
    export: &Export,
    group: &Group<'_>,
    begun: Vec<Begun<'_>>,
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
    for begun in begun {
        let (dataset, began) = (begun.dataset, Instant::now());
        let context = context(export, dataset);
        let opened = tokio::select! {
            opened = snapshot.open(&dataset.source, &context) => opened?,
            () = lambda::passed(export.deadline) => return Err(out_of_time(dataset, started, None, stopped(built.len()))),
        };
        match begun.write(export, opened).await? {
            Ok(manifest) => built.push((manifest, began.elapsed())),
            Err(progress) => return Err(out_of_time(dataset, started, Some(progress), stopped(built.len()))),
        }
    }
    snapshot.end().await;
    Ok(built)
}

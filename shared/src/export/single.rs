//! Exports one dataset that belongs to no group.

use std::time::Instant;

use turntable_core::{config::Dataset, error::Result};

use super::{
    answer::Exported,
    environment::Export,
    generation::{Build, NewGeneration},
    report::{exported, out_of_time},
};
use crate::{deadline, publish};

/// Exports the dataset: source → data files → manifest. Fails if the deadline passes before all rows are written.
pub(super) async fn build(export: &Export, dataset: &Dataset) -> Result<Exported> {
    let started = Instant::now();
    let generation = NewGeneration::begin(&export.env, dataset).await?;
    let context = export.context(dataset);
    let opened = tokio::select! {
        opened = turntable_sources::open(&dataset.source, &context) => opened?,
        () = deadline::passed(export.deadline) => return Err(out_of_time(dataset, started, None, None)),
    };
    let manifest = match generation.write(export, opened).await? {
        Build::Complete(manifest) => *manifest,
        Build::OutOfTime(progress) => return Err(out_of_time(dataset, started, Some(progress), None)),
    };
    publish::complete_new(&export.env, dataset, &manifest).await?;
    Ok(exported(&export.env, manifest, started.elapsed()))
}

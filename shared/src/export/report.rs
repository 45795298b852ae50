//! Reports the result of an export: a complete generation, or an error if the deadline passed.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde_json::json;
use tracing::info;
use turntable_core::{
    config::{Dataset, Source},
    error::Error,
    manifest::Manifest,
};
use turntable_parquet::Progress;

use super::answer::Exported;
use crate::{
    environment::Environment,
    metric::{Metric, emit},
};

/// Logs a complete generation, emits its metrics, and returns the answer.
pub(super) fn exported(env: &Environment, manifest: Manifest, took: Duration) -> Exported {
    let seconds = took.as_secs_f64();
    info!(
        dataset = manifest.dataset,
        generation = %manifest.generation,
        group = manifest.group.as_ref().map(|run| &run.group),
        rows = manifest.rows,
        bytes = manifest.bytes,
        files = manifest.files.len(),
        as_of = %manifest.as_of,
        typed_by = ?manifest.typed_by,
        nulled = %json!(manifest.nulled),
        seconds,
        "exported"
    );
    let (rows, bytes) = (manifest.rows as f64, manifest.bytes as f64);
    let metrics = [(Metric::Rows, rows), (Metric::Bytes, bytes), (Metric::ExportTime, seconds)];
    emit(env.clock.now(), &manifest.dataset, &metrics);
    Exported {
        dataset: manifest.dataset,
        generation: manifest.generation,
        location: manifest.location,
        rows: manifest.rows,
        bytes: manifest.bytes,
        files: manifest.files.len(),
        as_of: manifest.as_of,
        nulled: manifest.nulled,
        group: None,
    }
}

/// How much of a group's export was done before the deadline.
pub struct GroupProgress {
    pub group: String,
    pub members: usize,
    pub done: usize,
}

impl fmt::Display for GroupProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}, {} of {} members done", self.group, self.done, self.members)
    }
}

/// Returns the error for an export that reached its deadline. The error's kind is `Config`, because a retry would not
/// help.
pub(super) fn out_of_time(
    dataset: &Dataset,
    started: Instant,
    progress: Option<Progress>,
    of: Option<GroupProgress>,
) -> Error {
    let seconds = started.elapsed().as_secs_f64();
    let progress = match progress {
        Some(Progress { rows, bytes, files }) => {
            format!("{rows} rows were read, and {bytes} bytes in {files} files were written")
        }
        None => "the source was still being opened".into(),
    };
    let faster = match &dataset.source {
        Source::Postgres(_) => {
            "read over several connections (set parallel, and split_by unless the query reads a whole table)"
        }
        Source::Files(_) => "split the source into more objects (four are read at a time)",
        _ => "reduce the number of rows in the source",
    };
    let (together, split) = of.map_or((String::new(), ""), |of| (format!(" ({of})"), "split the group, "));
    Error::config(format!(
        "{}{together}: export stopped after {seconds:.0} s, shortly before the function's timeout: {progress}; nothing \
         was published. To make it faster, {split}{faster}, or give the function more memory, which also adds vCPUs \
         (ExportMemory in template.yaml)",
        dataset.name
    ))
}

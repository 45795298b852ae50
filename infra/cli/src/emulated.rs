//! `demo`, `up` and `run`: run Turntable on this machine with an emulated AWS.

use std::path::PathBuf;

use anyhow::Result;
use local::report::Report;

use crate::{done::Done, target::Format};

/// Runs the sample.
pub async fn demo(format: Format) -> Result<Done> {
    Ok(reported(&local::run::run(None).await?, false, format))
}

/// Runs a datasets.toml once. With `logs`, shows the functions' log lines about what failed.
pub async fn run(file: PathBuf, logs: bool, format: Format) -> Result<Done> {
    Ok(reported(&local::run::run(Some(file)).await?, logs, format))
}

/// Keeps a stack running until the future is dropped.
pub async fn up(file: Option<PathBuf>, stack: &str, format: Format) -> Result<Done> {
    local::up::up(file, stack, format == Format::Json).await?;
    Ok(Done::default())
}

fn reported(report: &Report, logs: bool, format: Format) -> Done {
    let out = match format {
        Format::Json => format!("{}\n", report.to_json()),
        Format::Table => format!("\n{report}"),
    };
    let mut err: String = report.faults.iter().map(|fault| format!("error: {fault}\n")).collect();
    if logs {
        err.extend(report.logs.iter().map(|line| format!("{line}\n")));
    } else if !report.logs.is_empty() {
        err += "pass --logs to see the functions' log lines\n";
    }
    Done { out, err, ..Done::default() }.needing_attention(report.has_failed())
}

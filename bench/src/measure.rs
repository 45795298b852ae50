//! Measures wall-clock time, CPU time and peak memory of a process and its descendants.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// The longest pause between two readings of the memory usage.
const MAX_PAUSE: Duration = Duration::from_millis(25);

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Run {
    pub wall_s: f64,
    /// User and system time of all processes.
    pub cpu_s: f64,
    /// Peak resident memory of all processes together, in MB of 2²⁰ bytes.
    pub rss_mb: f64,
}

/// Runs a command to its end and measures it. Writes its standard error to `log`; if the command fails, the error
/// quotes the last 30 lines.
///
/// Only one command may run at a time: its CPU time is the increase in the CPU time of all children of this process
/// that have exited.
pub fn run(mut command: Command, log: &Path) -> Result<Run> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stderr(file);
    let before = children_s()?;
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(resident(child.id()));
        match child.try_wait()? {
            Some(status) => break status,
            // Polls more often at first, to notice the end of a short process at once.
            None => std::thread::sleep(MAX_PAUSE.min(started.elapsed() / 20).max(Duration::from_millis(1))),
        }
    };
    let wall_s = started.elapsed().as_secs_f64();
    if !status.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(30).collect();
        bail!(
            "{:?} failed ({status}):\n{}",
            command.get_program(),
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
    }
    Ok(Run { wall_s, cpu_s: children_s()? - before, rss_mb: peak as f64 / 1024.0 })
}

/// Returns the CPU time, in seconds, of this process's children that have exited, with their descendants.
/// The resolution of `/proc/self/stat` is 10 ms.
fn children_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let ticks = fields(&stat).into_iter().skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// Returns the resident memory of the process `root` and its descendants in kB: their current sum, or the peak of any
/// one of them, whichever is greater.
fn resident(root: u32) -> u64 {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
        if let Some(parent) = fields(&stat).get(1).and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let (mut now, mut highest, mut open) = (0, 0, vec![root]);
    while let Some(id) = open.pop() {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        now += kilobytes(&status, "VmRSS:");
        highest = highest.max(kilobytes(&status, "VmHWM:"));
        open.extend(children.remove(&id).unwrap_or_default());
    }
    now.max(highest)
}

/// Returns the fields of `/proc/ID/stat` after the process's name, which may contain any character.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect()
}

fn kilobytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Run> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, &std::env::temp_dir().join(format!("turntable-measure-{}-{}", std::process::id(), script.len())))
    }

    #[test]
    fn resources_of_descendants_are_counted() {
        // Python in a child of the shell: 100 MB of touched memory, and half a second of work.
        let work = "python3 -c 'import time; a = bytearray(b\"x\") * 100_000_000; t = time.process_time()\n\
                    while time.process_time() - t < 0.5: pass'; true";
        let run = shell(work).unwrap();
        assert!(run.rss_mb > 95.0 && run.rss_mb < 400.0, "{run:?}");
        assert!(run.cpu_s >= 0.5 && run.wall_s >= 0.5, "{run:?}");
        let error = shell("echo it is broken >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("it is broken"), "{error}");
    }
}

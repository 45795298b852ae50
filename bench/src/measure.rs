//! Wall clock, processor time and peak memory of a process and of all that it starts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// Between two looks at the memory.
const PAUSE: Duration = Duration::from_millis(25);

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Run {
    pub wall_s: f64,
    /// Of user and system, of all processes.
    pub cpu_s: f64,
    /// MB of 2²⁰ bytes: the sum of what all processes had resident, at its highest.
    pub rss_mb: f64,
}

/// Runs the command to its end. What it says goes to `log`, and is the error where it fails.
///
/// One command at a time: its processor time is what the kernel has added to that of this process's ended children.
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
            // A short process is looked at more often, so that its end is not missed by much.
            None => std::thread::sleep(PAUSE.min(started.elapsed() / 20).max(Duration::from_millis(1))),
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

/// Seconds that the ended children of this process, and theirs, have had of the processors: proc(5), in ticks of 10 ms.
fn children_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let ticks = fields(&stat).into_iter().skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// kB: of the process and its descendants together now, or of one of them at its highest, whichever is more.
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

/// The fields of `/proc/ID/stat` behind the process's name, which may hold anything.
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
    fn what_children_use_is_counted() {
        // Python in a child of the shell: 100 MB that are really touched, and half a second of work.
        let work = "python3 -c 'import time; a = bytearray(b\"x\") * 100_000_000; t = time.process_time()\n\
                    while time.process_time() - t < 0.5: pass'; true";
        let run = shell(work).unwrap();
        assert!(run.rss_mb > 95.0 && run.rss_mb < 400.0, "{run:?}");
        assert!(run.cpu_s >= 0.5 && run.wall_s >= 0.5, "{run:?}");
        let error = shell("echo it is broken >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("it is broken"), "{error}");
    }
}

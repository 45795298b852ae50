//! Processes on this machine, found by their environment variables.

use std::{
    fs,
    process::{Command, Stdio},
};

/// A process, with its environment at the time when it was found.
#[derive(Debug, Clone)]
pub struct Process {
    pub id: u32,
    environment: Vec<u8>,
}

/// Finds the processes whose environment contains `NAME=VALUE`.
pub fn having(variable: &str) -> Vec<Process> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let process = |id| Process { id, environment: fs::read(format!("/proc/{id}/environ")).unwrap_or_default() };
    ids.map(process).filter(|process| process.variables().any(|known| known == variable.as_bytes())).collect()
}

impl Process {
    fn variables(&self) -> impl Iterator<Item = &[u8]> {
        self.environment.split(|byte| *byte == 0)
    }

    /// Returns the value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = self.variables().find_map(|known| known.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.id)
    }

    /// Returns the name of the script or module that an interpreter runs.
    pub fn script(&self) -> String {
        let line = fs::read(self.file("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let script = line.split('\0').skip(1).find(|argument| !argument.starts_with('-'));
        script.and_then(|script| script.rsplit('/').next()).unwrap_or_default().to_owned()
    }

    /// Reads `VmRSS` or `VmHWM` from the process's status, in MB of 2²⁰ bytes. Returns `None` when the process has
    /// ended.
    pub fn status(&self, name: &str) -> Option<f64> {
        let status = fs::read_to_string(self.file("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
    }

    /// Resets `VmHWM`, the peak memory use; see proc(5).
    pub fn forget_peak(&self) {
        let _ = fs::write(self.file("clear_refs"), "5");
    }

    /// Sends KILL, and returns whether the process was still there.
    pub fn kill(&self) -> bool {
        let kill = Command::new("kill").args(["-9", &self.id.to_string()]).stderr(Stdio::null()).status();
        kill.is_ok_and(|status| status.success())
    }
}

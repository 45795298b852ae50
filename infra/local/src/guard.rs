//! Child processes that can't outlive this one.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::progress::say;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guard.py");

/// Returns a command that runs under `guard.py`. Append the program and its arguments, set the environment, then pass
/// the command to [`Guarded::start`]. When the program has ended, the guard removes `folder`, if there is one.
pub fn command(python: &Path, folder: Option<&Path>) -> Command {
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(folder.unwrap_or(Path::new("")));
    command
}

/// A process that is killed, with every process that it started, when this value is dropped or this process ends for
/// any reason.
pub struct Guarded(Child);

impl Guarded {
    /// Starts a command made by [`command`].
    pub fn start(mut command: Command) -> Result<Guarded> {
        command.stdin(Stdio::piped()).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Guarded(child))
    }

    /// Returns the exit status, or `None` while the process runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Waits until the process ends, and returns its exit status. Until then, prints `still {still}` every ten seconds.
    pub async fn wait(mut self, still: &str) -> Result<ExitStatus> {
        let start = Instant::now();
        let mut said = 0;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            let tens = start.elapsed().as_secs() / 10;
            if tens > said {
                said = tens;
                say(format_args!("still {still} ({tens}0 s)"));
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // This takes only a moment: the guard kills a process group and removes a folder.
        let _ = self.0.wait();
    }
}

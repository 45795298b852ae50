//! Child processes that cannot outlive this one.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::progress::say;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guard.py");

/// A command that `guard.py` runs: add the program, its arguments and environment, and hand it to [`Guarded::start`].
/// `folder` is removed when the command has ended.
pub fn command(python: &Path, folder: Option<&Path>) -> Command {
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(folder.unwrap_or(Path::new("")));
    command
}

/// Ends when it is dropped or when this process ends, however that happens, with every process that it started.
pub struct Guarded(Child);

impl Guarded {
    pub fn start(mut command: Command) -> Result<Guarded> {
        command.stdin(Stdio::piped()).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Guarded(child))
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Waits for its end, and says every ten seconds that it is `still` at it.
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
        // It only has a group to kill and a folder to remove.
        let _ = self.0.wait();
    }
}

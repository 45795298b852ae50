//! A Python environment under `target/venv`, with exactly the packages that are pinned in requirements.txt.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{
    guard::{self, Guarded},
    progress::say,
};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const REQUIREMENTS: [&str; 3] = ["requirements.txt", "constraints.txt", "athena/requirements.txt"];

/// The first Python ≥ 3.10 on the PATH, and its version.
pub fn python() -> Result<(PathBuf, String)> {
    const ASK: &str = "import sys, venv, ensurepip; print(sys.executable, *sys.version_info[:3]); \
                       sys.exit(sys.version_info < (3, 10))";
    let names = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"];
    for name in names {
        let Ok(output) = Command::new(name).args(["-c", ASK]).stderr(Stdio::null()).output() else { continue };
        let answer = String::from_utf8_lossy(&output.stdout);
        if let (true, Some((path, version))) = (output.status.success(), answer.trim().split_once(' ')) {
            return Ok((path.into(), version.replace(' ', ".")));
        }
    }
    bail!("missing: python3, version 3.10 or later, with its venv module (Debian, Ubuntu: apt install python3-venv)")
}

/// The environment's python. Made once for these requirements and this Python; processes that want it at the same
/// time wait for the first.
pub async fn ensure(target: &Path) -> Result<PathBuf> {
    let (base, version) = python()?;
    let mut hash = Sha256::new_with_prefix(base.as_os_str().as_encoded_bytes());
    hash.update(&version);
    for name in REQUIREMENTS {
        let path = Path::new(FOLDER).join(name);
        hash.update(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let key: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();

    let home = target.join("venv");
    fs::create_dir_all(&home).with_context(|| format!("cannot write to {}", home.display()))?;
    let venv = home.join(&key);
    let python = venv.join("bin/python");
    let complete = venv.join("complete");

    // Given up when this function returns, or the process dies.
    let lock = File::create(home.join("lock"))?;
    while lock.try_lock().is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if !complete.is_file() {
        say(format_args!("installing the pinned Python packages into {} (once)", venv.display()));
        fs::remove_dir_all(&venv).or_else(|error| if venv.exists() { Err(error) } else { Ok(()) })?;
        run(&base, &base, &["-m", "venv", &venv.to_string_lossy()]).await?;
        let requirements = Path::new(FOLDER).join(REQUIREMENTS[0]);
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        run(&base, &python, &[&install[..], &[&requirements.to_string_lossy()]].concat()).await?;
        File::create(&complete)?;
    }
    Ok(python)
}

async fn run(guard: &Path, python: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = guard::command(guard, None);
    command.arg(python).args(arguments).stdout(Stdio::null());
    let status = Guarded::start(command)?.wait("installing").await?;
    if !status.success() {
        bail!("{} {} failed ({status})", python.display(), arguments.join(" "));
    }
    Ok(())
}

//! Creates Python environments under `target/venv`. Each contains exactly the files whose hashes are listed in its
//! requirements files.

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
const REQUIREMENTS: [&str; 1] = ["requirements.txt"];
const SPARK: [&str; 1] = ["spark.txt"];

/// Returns the path and version of the first Python on PATH that is at least 3.10 and has the modules venv and
/// ensurepip.
pub fn python() -> Result<(PathBuf, String)> {
    const SCRIPT: &str = "import sys, venv, ensurepip; print(sys.executable, *sys.version_info[:3]); \
                          sys.exit(sys.version_info < (3, 10))";
    let names = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"];
    for name in names {
        let Ok(output) = Command::new(name).args(["-c", SCRIPT]).stderr(Stdio::null()).output() else { continue };
        let answer = String::from_utf8_lossy(&output.stdout);
        if let (true, Some((path, version))) = (output.status.success(), answer.trim().split_once(' ')) {
            return Ok((path.into(), version.replace(' ', ".")));
        }
    }
    bail!(
        "python3 is missing: install version 3.10 or later with its venv module (Debian, Ubuntu: apt install python3-venv)"
    )
}

/// Creates the emulator's environment if needed, and returns the path to its Python.
pub async fn ensure(target: &Path) -> Result<PathBuf> {
    made(target, &REQUIREMENTS).await
}

/// Creates PySpark's environment if needed, and returns the path to its Python. Fails if Java is missing.
pub async fn ensure_spark(target: &Path) -> Result<PathBuf> {
    java()?;
    made(target, &SPARK).await
}

/// Returns the path to Python in PySpark's environment, whether or not the environment exists.
pub fn spark(target: &Path) -> Result<PathBuf> {
    Ok(folder(target, &python()?, &SPARK)?.join("bin/python"))
}

/// Checks that Java is installed: Spark needs it, and PyPI doesn't have it.
fn java() -> Result<()> {
    let found = Command::new("java").arg("-version").stdin(Stdio::null()).output();
    match found.is_ok_and(|output| output.status.success()) {
        true => Ok(()),
        false => bail!("java is missing: PySpark needs version 8, 11 or 17 (Debian: apt install default-jre-headless)"),
    }
}

/// Returns the environment's folder for these requirements and this Python, named after a hash of both.
fn folder(target: &Path, (base, version): &(PathBuf, String), requirements: &[&str]) -> Result<PathBuf> {
    let mut hash = Sha256::new_with_prefix(base.as_os_str().as_encoded_bytes());
    hash.update(version);
    for name in requirements {
        let path = Path::new(FOLDER).join(name);
        hash.update(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let key: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Ok(target.join("venv").join(key))
}

/// Creates an environment if needed, and returns the path to its Python. Only one process creates an environment at a
/// time; the others wait. `requirements` are paths relative to this crate's folder. Only the first file is passed to
/// pip, so it must include the others.
pub async fn made(target: &Path, requirements: &[&str]) -> Result<PathBuf> {
    let base = python()?;
    let venv = folder(target, &base, requirements)?;
    let (base, _) = base;
    let paths = target.join("venv");
    fs::create_dir_all(&paths).with_context(|| format!("cannot write to {}", paths.display()))?;
    let python = venv.join("bin/python");
    let complete = venv.join("complete");

    // The lock is released when this function returns or the process dies.
    let lock = File::create(paths.join("lock"))?;
    while lock.try_lock().is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if !complete.is_file() {
        say(format_args!("installing the pinned Python packages into {} (once)", venv.display()));
        fs::remove_dir_all(&venv).or_else(|error| if venv.exists() { Err(error) } else { Ok(()) })?;
        run(&base, &base, &["-m", "venv", &venv.to_string_lossy()]).await?;
        let file = Path::new(FOLDER).join(requirements[0]);
        // The file lists every package. pip would refuse one that has extras there and none where it is needed.
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
        run(&base, &python, &[&install[..], &[&file.to_string_lossy()]].concat()).await?;
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

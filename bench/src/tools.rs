//! Provides what the contenders need: Python packages, installed once under `target/`, and the system's JDBC driver.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

pub struct Tools {
    pub python: PathBuf,
    /// Python with the packages in peers.txt.
    pub peers: PathBuf,
    /// PostgreSQL's JDBC driver. Without it the PySpark contenders are skipped.
    pub driver: Option<PathBuf>,
    /// `target/bench`, the folder for results that are kept.
    pub folder: PathBuf,
}

/// Returns the path of a file in this crate.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

impl Tools {
    pub fn prepare() -> Result<Tools> {
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => target.into(),
            None => file("../target"),
        };
        let folder = target.join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(Tools {
            python: python(&target, "requirements.txt", "1 GB")?,
            peers: python(&target, "peers.txt", "400 MB")?,
            driver: driver(),
            folder: fs::canonicalize(folder)?,
        })
    }
}

/// Returns the path to Python in a virtual environment with exactly the packages in a lock file. Creates the environment on
/// first use.
fn python(target: &Path, lock: &str, size: &str) -> Result<PathBuf> {
    let requirements = file(lock);
    let digest = Sha256::digest(fs::read(&requirements)?);
    let name: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = target.join("venv/bench").join(name);
    let complete = folder.join("complete");
    if !complete.is_file() {
        eprintln!("bench: installing the contenders of {lock} into {} (once, about {size})", folder.display());
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--require-hashes",
            "--requirement",
        ]);
        run(pip.arg(requirements))?;
        fs::write(complete, "")?;
    }
    // The link must stay unresolved: its target is a Python outside the environment.
    Ok(std::path::absolute(folder.join("bin/python"))?)
}

/// Returns the versioned jar from Debian's package libpostgresql-jdbc-java, or `None` if it isn't installed.
fn driver() -> Option<PathBuf> {
    let jars = fs::read_dir("/usr/share/java").into_iter().flatten().flatten().map(|jar| jar.path());
    let is_driver = |jar: &PathBuf| {
        let name = jar.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("postgresql-4") && name.ends_with(".jar")
    };
    let found = jars.filter(is_driver).max();
    if found.is_none() {
        eprintln!(
            "bench: skipping PySpark, because its JDBC driver is missing: apt-get install libpostgresql-jdbc-java"
        );
    }
    found
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program:?}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{program:?} failed ({}):\n{}", output.status, String::from_utf8_lossy(&text));
    }
    Ok(())
}

//! Builds the functions with the Cargo profile, target triple and target folder that this process was built with.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Result, bail};
use client::workspace;

use crate::{
    guard::{self, Guarded},
    progress::say,
};

/// The Cargo settings that this process was built with.
#[derive(Debug, Clone)]
pub struct Build {
    /// Cargo's target folder.
    pub target: PathBuf,
    triple: Option<String>,
    profile: String,
}

impl Build {
    /// Derives the settings from this executable's path: `TARGET/[TRIPLE/]PROFILE/[deps/ or examples/]NAME`. Fails if
    /// the path has another form.
    pub fn of_this_process() -> Result<Build> {
        let (executable, target) = (env::current_exe()?, workspace::target()?);
        let below: Vec<_> = executable
            .strip_prefix(&target)?
            .parent()
            .into_iter()
            .flatten()
            .map(|part| part.to_string_lossy().into_owned())
            .filter(|part| part != "deps" && part != "examples")
            .collect();
        let (triple, folder) = match below.as_slice() {
            [folder] => (None, folder),
            [triple, folder] => (Some(triple.clone()), folder),
            _ => bail!("{} is not where Cargo puts an executable", executable.display()),
        };
        let profile = if folder == "debug" { "dev".into() } else { folder.clone() };
        Ok(Build { target, triple, profile })
    }

    fn binaries(&self) -> PathBuf {
        let folder = if self.profile == "dev" { "debug" } else { &self.profile };
        self.target.join(self.triple.as_deref().unwrap_or("")).join(folder)
    }

    /// Builds the functions and returns the paths of their binaries by function. Builds the whole workspace: for a part
    /// of it, Cargo would enable other features of the AWS SDKs and compile them again.
    pub async fn build(&self, python: &Path, functions: &[String]) -> Result<BTreeMap<String, PathBuf>> {
        say("building the functions");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = guard::command(python, None);
        command.arg(cargo).args(["build", "--workspace", "--bins", "--quiet", "--profile", &self.profile]);
        command.arg("--target-dir").arg(&self.target).current_dir(workspace::root()).stdout(Stdio::null());
        if let Some(triple) = &self.triple {
            command.args(["--target", triple]);
        }
        let status = Guarded::start(command)?.wait("building").await?;
        if !status.success() {
            bail!("cargo build --workspace --bins failed ({status})");
        }
        let path = |name: &String| (name.clone(), self.binaries().join(name));
        let binaries: BTreeMap<_, _> = functions.iter().map(path).collect();
        match binaries.values().find(|path| !path.is_file()) {
            Some(path) => bail!("template.yaml has a function that no crate builds: {} is missing", path.display()),
            None => Ok(binaries),
        }
    }
}

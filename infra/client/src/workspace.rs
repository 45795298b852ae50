//! Finds the repository's root and Cargo's target folder.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Returns the root folder of the repository's clone.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns the target folder that this executable was built in, no matter whether CARGO_TARGET_DIR, --target-dir or a
/// configuration file chose it. The folder is the one that Cargo marks with CACHEDIR.TAG.
pub fn target() -> Result<PathBuf> {
    let executable = env::current_exe()?;
    let target = executable.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let target = target.with_context(|| format!("{} is not in a Cargo target folder", executable.display()))?;
    Ok(target.to_owned())
}

//! Prepares the tools for a run: Python with its packages, and the compiled functions.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;

use crate::{build::Build, template::Template, venv};

#[derive(Debug, Clone)]
pub struct Tools {
    pub python: PathBuf,
    /// The Python that runs Glue jobs; it exists only after [`Tools::spark`].
    pub spark: PathBuf,
    /// An existing folder for records of the functions' AWS calls (`athena/turntable_athena/calls.py`). `None` keeps no
    /// records.
    pub calls: Option<PathBuf>,
    /// The only access key that the emulator accepts. `None` accepts any key, and each key selects its own account.
    pub access_key: Option<String>,
    target: PathBuf,
    pub template: Template,
    /// The functions' binaries, by their names in template.yaml.
    pub binaries: BTreeMap<String, PathBuf>,
}

impl Tools {
    /// Creates the virtual environment and builds the functions, if needed.
    pub async fn prepare() -> Result<Tools> {
        let template = Template::read()?;
        let build = Build::of_this_process()?;
        let python = venv::ensure(&build.target).await?;
        let binaries = build.build(&python, &template.functions()).await?;
        let spark = venv::spark(&build.target)?;
        Ok(Tools { python, spark, calls: None, access_key: None, target: build.target, template, binaries })
    }

    /// Creates the Python environment that Glue jobs run in, if needed.
    pub async fn spark(&self) -> Result<()> {
        venv::ensure_spark(&self.target).await.map(drop)
    }
}

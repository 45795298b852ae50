//! What has to be there before anything can start: Python with its packages, and the built functions.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;

use crate::{template::Template, venv, workspace::Build};

#[derive(Debug, Clone)]
pub struct Tools {
    pub python: PathBuf,
    /// What Glue jobs run on; only there after [`Tools::spark`].
    pub spark: PathBuf,
    /// A folder that is there, for notes of the functions' calls (`athena/turntable_athena/calls.py`); without one there are none.
    pub calls: Option<PathBuf>,
    target: PathBuf,
    pub template: Template,
    /// The functions' binaries by the names that template.yaml gives them.
    pub binaries: BTreeMap<String, PathBuf>,
}

impl Tools {
    /// Makes what is missing: the virtual environment, the functions' binaries.
    pub async fn prepare() -> Result<Tools> {
        let template = Template::read()?;
        let build = Build::of_this_process()?;
        let python = venv::ensure(&build.target).await?;
        let binaries = build.build(&python, &template.functions()).await?;
        let spark = venv::spark(&build.target)?;
        Ok(Tools { python, spark, calls: None, target: build.target, template, binaries })
    }

    /// Makes what Glue jobs run on.
    pub async fn spark(&self) -> Result<()> {
        venv::ensure_spark(&self.target).await.map(drop)
    }
}

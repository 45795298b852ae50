//! The [`Engine`] port on Athena and Glue.

mod athena;
mod glue;

use async_trait::async_trait;
use turntable_core::{
    error::Result,
    port::{Answered, Engine, Progress, Query},
    record::{EngineRun, Pending, Work},
};

pub struct Engines {
    config: aws_config::SdkConfig,
    output: Option<String>,
    athena: athena::Unloads,
    glue: glue::Jobs,
}

impl Engines {
    /// Creates the clients for Athena and Glue. `output` is the S3 location of Athena's query results if the workgroup
    /// sets none.
    pub fn new(config: &aws_config::SdkConfig, output: Option<String>) -> Self {
        let (athena, glue) = (athena::Unloads::new(config, output.clone()), glue::Jobs::new(config));
        Engines { config: config.clone(), output, athena, glue }
    }
}

#[async_trait]
impl Engine for Engines {
    async fn start(&self, pending: &Pending, again: bool) -> Result<String> {
        match &pending.work {
            // The request's token makes this idempotent, so `again` makes no difference.
            Work::Athena { workgroup, database, sql } => {
                self.athena.start(&pending.generation, workgroup, database, sql).await
            }
            Work::GlueJob { name, arguments, timeout } => {
                let found = if again { self.glue.runs(name, pending).await?.into_iter().next() } else { None };
                match found {
                    Some(id) => Ok(id),
                    None => self.glue.start(name, arguments, *timeout).await,
                }
            }
        }
    }

    async fn ask(&self, workgroup: &str, database: &str, sql: &str) -> Result<Answered> {
        let athena = super::athena::Athena::new(&self.config, workgroup.into(), self.output.clone());
        athena.run(database, sql).await
    }

    async fn progress(&self, run: &EngineRun) -> Result<Option<Progress>> {
        match run {
            EngineRun::Athena { id } => self.athena.progress(id).await,
            EngineRun::GlueJob { job, id } => self.glue.progress(job, id).await,
        }
    }
}

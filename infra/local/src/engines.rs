//! Sets up Athena and Glue for the datasets that they build: template parameters, workgroups, jobs and PySpark.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use aws_sdk_athena::types::{ManagedQueryResultsConfiguration, WorkGroupConfiguration};
use aws_sdk_glue::types::JobCommand;
use turntable::config::{Config, Source};

use crate::{progress::say, stack::Stack, tools::Tools};

/// Returns the parameters of template.yaml that list the workgroups and the Glue jobs. Leaves out a parameter whose
/// list is empty.
pub fn parameters(config: &Config) -> Vec<(String, String)> {
    [("EngineWorkgroups", workgroups(config)), ("GlueJobs", jobs(config))]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(parameter, names)| (parameter.to_owned(), names.into_iter().collect::<Vec<_>>().join(",")))
        .collect()
}

fn workgroups(config: &Config) -> BTreeSet<String> {
    names(config, |source| match source {
        Source::Athena(athena) => Some(athena.workgroup.clone()),
        _ => None,
    })
}

fn jobs(config: &Config) -> BTreeSet<String> {
    names(config, |source| match source {
        Source::GlueJob(job) => Some(job.name.clone()),
        _ => None,
    })
}

fn names(config: &Config, name: impl Fn(&Source) -> Option<String>) -> BTreeSet<String> {
    config.datasets().filter_map(|dataset| name(&dataset.source)).collect()
}

/// Installs PySpark if a Glue job builds a dataset.
pub async fn prepare(tools: &Tools, config: &Config) -> Result<()> {
    if jobs(config).is_empty() { Ok(()) } else { tools.spark().await }
}

/// Creates the datasets' workgroups and Glue jobs. The script for job `NAME` is `NAME.py` in `beside`, the folder that
/// contains the datasets file.
pub async fn create(stack: &Stack, config: &Config, beside: &Path) -> Result<()> {
    for name in workgroups(config) {
        create_workgroup(stack, &name).await?;
    }
    for name in jobs(config) {
        let script = beside.join(format!("{name}.py"));
        let text = fs::read(&script).with_context(|| {
            format!(
                "cannot read {}, the script of the Glue job {name:?}: put it beside the datasets file",
                script.display()
            )
        })?;
        say(format_args!("the Glue job {name} runs {}", script.display()));
        create_job(stack, &name, text).await?;
    }
    Ok(())
}

/// Creates an Athena workgroup in which each query may set its own result location. Does nothing for `primary`, which
/// exists already.
pub async fn create_workgroup(stack: &Stack, name: &str) -> Result<()> {
    if name == "primary" {
        return Ok(());
    }
    let configuration = WorkGroupConfiguration::builder().enforce_work_group_configuration(false).build();
    let workgroup = stack.athena.create_work_group().name(name).configuration(configuration);
    workgroup.send().await.with_context(|| format!("cannot create the workgroup {name}"))?;
    Ok(())
}

/// Creates an Athena workgroup with managed query results: Athena keeps the results itself, and refuses a query that names
/// a location for them.
pub async fn create_managed_workgroup(stack: &Stack, name: &str) -> Result<()> {
    let managed = ManagedQueryResultsConfiguration::builder().enabled(true).build();
    let configuration = WorkGroupConfiguration::builder().managed_query_results_configuration(managed).build();
    let workgroup = stack.athena.create_work_group().name(name).configuration(configuration);
    workgroup.send().await.with_context(|| format!("cannot create the workgroup {name}"))?;
    Ok(())
}

/// Uploads a Glue job's script, or replaces the script of an existing job.
pub async fn put_script(stack: &Stack, name: &str, script: Vec<u8>) -> Result<()> {
    let key = format!("jobs/{name}.py");
    let put = stack.s3.put_object().bucket(&stack.scratch).key(&key).body(script.into());
    put.send().await.with_context(|| format!("cannot write s3://{}/{key}", stack.scratch))?;
    Ok(())
}

/// Uploads a script and creates a Glue job that runs it.
pub async fn create_job(stack: &Stack, name: &str, script: Vec<u8>) -> Result<()> {
    put_script(stack, name, script).await?;
    let key = format!("jobs/{name}.py");
    let command = JobCommand::builder().name("glueetl").script_location(format!("s3://{}/{key}", stack.scratch));
    let job = stack.glue.create_job().name(name).role("glue").command(command.build()).max_retries(0);
    job.send().await.with_context(|| format!("cannot create the Glue job {name}"))?;
    Ok(())
}

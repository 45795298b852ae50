//! A deployed stack: its clients, and what a person or a test does with it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use aws_sdk_scheduler::types::{ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode};
use serde::Deserialize;
use serde_json::Value;

use crate::{deploy::Deployment, emulator::Emulator};

pub struct Stack {
    pub name: String,
    pub bucket: String,
    /// A second bucket, for what is not the product's: the functions' code, and what queries write.
    pub scratch: String,
    pub outputs: BTreeMap<String, String>,
    /// The functions' deployed names by their short ones: `export` → `turntable-export`.
    pub functions: BTreeMap<String, String>,
    pub aws: SdkConfig,
    pub s3: aws_sdk_s3::Client,
    pub glue: aws_sdk_glue::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub athena: aws_sdk_athena::Client,
}

/// The error that a function answered with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionError {
    pub error_type: String,
    pub error_message: String,
}

impl std::fmt::Display for FunctionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error_type, self.error_message)
    }
}

impl std::error::Error for FunctionError {}

impl Stack {
    pub(crate) async fn new(
        emulator: &Emulator,
        deployment: &Deployment,
        outputs: BTreeMap<String, String>,
    ) -> Result<Stack> {
        let aws = emulator.sdk_config(&deployment.access_key);
        let stack = Stack {
            name: deployment.stack.clone(),
            bucket: outputs.get("Bucket").context("template.yaml has no output Bucket")?.clone(),
            scratch: deployment.scratch(),
            functions: emulator
                .tools
                .binaries
                .keys()
                .map(|function| (function.clone(), format!("{}-{function}", deployment.stack)))
                .collect(),
            outputs,
            s3: aws_sdk_s3::Client::new(&aws),
            glue: aws_sdk_glue::Client::new(&aws),
            lambda: aws_sdk_lambda::Client::new(&aws),
            athena: aws_sdk_athena::Client::new(&emulator.athena_config(&deployment.access_key)),
            aws,
        };
        for name in stack.functions.values() {
            let found = stack.lambda.get_function_configuration().function_name(name).send().await;
            found.with_context(|| format!("template.yaml does not name a function ${{AWS::StackName}}-…: {name}"))?;
        }
        Ok(stack)
    }

    /// Writes an object into the stack's bucket.
    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> Result<()> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key).body(body.into().into());
        put.send().await.with_context(|| format!("cannot write s3://{}/{key}", self.bucket))?;
        Ok(())
    }

    /// Reads an object of the stack's bucket.
    pub async fn get(&self, key: &str) -> Result<Vec<u8>> {
        let get = self.s3.get_object().bucket(&self.bucket).key(key).send().await;
        let object = get.with_context(|| format!("cannot read s3://{}/{key}", self.bucket))?;
        Ok(object.body.collect().await?.to_vec())
    }

    /// Makes a Glue database, unless it is there.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        let input = aws_sdk_glue::types::DatabaseInput::builder().name(name).build()?;
        match self.glue.create_database().database_input(input).send().await {
            Err(error) if error.as_service_error().is_some_and(|error| error.is_already_exists_exception()) => Ok(()),
            answer => answer.map(drop).with_context(|| format!("cannot create the Glue database {name}")),
        }
    }

    /// As [`invoke`], by the function's short name.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Result<Value, FunctionError>> {
        let name = self.functions.get(function).with_context(|| format!("the stack has no function {function}"))?;
        invoke(&self.lambda, name, event).await
    }

    /// Fires the stack's daily schedule now: a one-time schedule with the very target and input of the daily one.
    /// The emulator looks for due schedules every ten seconds.
    pub async fn fire_schedule(&self) -> Result<()> {
        let scheduler = aws_sdk_scheduler::Client::new(&self.aws);
        let daily = format!("{}-daily", self.name);
        let schedule = scheduler.get_schedule().name(&daily).send().await;
        let schedule = schedule.with_context(|| format!("template.yaml makes no schedule {daily}"))?;
        let now = jiff::Timestamp::now();
        let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build()?;
        scheduler
            .create_schedule()
            .name(format!("{daily}-{}", now.as_millisecond()))
            .schedule_expression(format!("at({})", now.strftime("%Y-%m-%dT%H:%M:%S")))
            .action_after_completion(ActionAfterCompletion::Delete)
            .flexible_time_window(window)
            .set_target(schedule.target)
            .send()
            .await
            .context("cannot create a schedule")?;
        Ok(())
    }
}

impl Stack {
    /// What a function has logged since a time in milliseconds. A line that is JSON is given as that, every other one
    /// as a string; Lambda's own START, END and REPORT are left out. The emulator hands in the lines of an invocation
    /// when it has ended.
    pub async fn logs(&self, function: &str, since: i64) -> Result<Vec<Value>> {
        let name = self.functions.get(function).with_context(|| format!("the stack has no function {function}"))?;
        let logs = aws_sdk_cloudwatchlogs::Client::new(&self.aws);
        let group = format!("/aws/lambda/{name}");
        let mut pages = logs.filter_log_events().log_group_name(group).start_time(since).into_paginator().send();
        let mut lines = Vec::new();
        while let Some(page) = pages.next().await {
            for event in page.with_context(|| format!("cannot read the logs of {name}"))?.events() {
                let line = event.message().unwrap_or_default().trim_end();
                if !["START ", "END ", "REPORT "].iter().any(|own| line.starts_with(own)) {
                    lines.push(serde_json::from_str(line).unwrap_or_else(|_| line.into()));
                }
            }
        }
        Ok(lines)
    }
}

/// Invokes a function and waits for its answer. The outer error is the emulator's or AWS's, the inner one the function's
/// own.
pub async fn invoke(
    lambda: &aws_sdk_lambda::Client,
    name: &str,
    event: &Value,
) -> Result<Result<Value, FunctionError>> {
    let invoke = lambda.invoke().function_name(name).payload(event.to_string().into_bytes().into());
    let answer = invoke.send().await.with_context(|| format!("cannot invoke {name}"))?;
    let payload = answer.payload().map(|blob| blob.as_ref()).unwrap_or_default();
    let understood = "an answer that is no JSON";
    if answer.function_error().is_some() {
        return Ok(Err(serde_json::from_slice(payload).context(understood)?));
    }
    Ok(Ok(serde_json::from_slice(payload).context(understood)?))
}

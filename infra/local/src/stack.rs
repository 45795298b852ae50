//! A deployed stack: its clients, and the operations that the runner and the tests need.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use client::lambda::{FunctionError, Lambda};
use serde_json::Value;

use crate::{boto::Account, deployment::Deployment, emulator::Emulator};

pub struct Stack {
    pub name: String,
    /// The access key that selects the stack's account in the emulator.
    pub access_key: String,
    pub bucket: String,
    /// A second bucket, for the functions' code and query results.
    pub scratch: String,
    pub outputs: BTreeMap<String, String>,
    /// The functions' deployed names, by short name: `export` → `turntable-export`.
    pub functions: BTreeMap<String, String>,
    pub aws: SdkConfig,
    pub s3: aws_sdk_s3::Client,
    pub glue: aws_sdk_glue::Client,
    pub lambda: Lambda,
    pub athena: aws_sdk_athena::Client,
    /// The client for services that have no SDK crate here.
    pub account: Account,
}

impl Stack {
    pub(crate) async fn new(
        emulator: &Emulator,
        deployment: &Deployment,
        account: Account,
        outputs: BTreeMap<String, String>,
    ) -> Result<Stack> {
        let aws = emulator.sdk_config(&deployment.access_key);
        let stack = Stack {
            name: deployment.stack.clone(),
            access_key: deployment.access_key.clone(),
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
            lambda: Lambda::new(&aws)?,
            athena: aws_sdk_athena::Client::new(&emulator.athena_config(&deployment.access_key)),
            account,
            aws,
        };
        for name in stack.functions.values() {
            let found = stack.account.function_environment(name).await;
            found.with_context(|| format!("template.yaml has no function ${{AWS::StackName}}-…: {name}"))?;
        }
        Ok(stack)
    }

    /// Writes an object into the stack's bucket.
    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> Result<()> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key).body(body.into().into());
        put.send().await.with_context(|| format!("cannot write s3://{}/{key}", self.bucket))?;
        Ok(())
    }

    /// Reads an object from the stack's bucket.
    pub async fn get(&self, key: &str) -> Result<Vec<u8>> {
        let get = self.s3.get_object().bucket(&self.bucket).key(key).send().await;
        let object = get.with_context(|| format!("cannot read s3://{}/{key}", self.bucket))?;
        Ok(object.body.collect().await?.to_vec())
    }

    /// Creates a Glue database if it doesn't exist.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        let input = aws_sdk_glue::types::DatabaseInput::builder().name(name).build()?;
        match self.glue.create_database().database_input(input).send().await {
            Err(error) if error.as_service_error().is_some_and(|error| error.is_already_exists_exception()) => Ok(()),
            answer => answer.map(drop).with_context(|| format!("cannot create the Glue database {name}")),
        }
    }

    /// Invokes a function by its short name and waits for its result. The outer error is the emulator's, the inner one
    /// the function's. An operator's request goes to the alias for operators, and an event to the function itself.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Result<Value, FunctionError>> {
        let is_event = event.get("detail-type").is_some() || event.get("Records").is_some();
        let alias = (matches!(function, "flip" | "optout") && !is_event).then_some("operator");
        self.lambda.invoke_alias(self.function(function)?, alias, event).await
    }

    /// Fires the stack's daily schedule now: creates a one-time schedule with the same target and input. The emulator
    /// fires due schedules every ten seconds.
    pub async fn fire_schedule(&self) -> Result<()> {
        let daily = format!("{}-daily", self.name);
        let target = self.account.schedule_target(&daily).await;
        let target = target.with_context(|| format!("template.yaml creates no schedule {daily}"))?;
        let now = jiff::Timestamp::now();
        let name = format!("{daily}-{}", now.as_millisecond());
        self.account
            .schedule_once(&name, &now.strftime("%Y-%m-%dT%H:%M:%S").to_string(), target)
            .await
            .context("cannot create a schedule")
    }

    /// Returns the lines that a function has logged since a time in Unix milliseconds: JSON lines parsed, all others as
    /// strings. Leaves out Lambda's START, END and REPORT lines. The emulator delivers an invocation's lines when the
    /// invocation ends.
    pub async fn logs(&self, function: &str, since: i64) -> Result<Vec<Value>> {
        let name = self.function(function)?;
        let messages = self.account.log_messages(&format!("/aws/lambda/{name}"), since).await;
        let messages = messages.with_context(|| format!("cannot read the logs of {name}"))?;
        let lines = messages.iter().map(|message| message.trim_end());
        let lines = lines.filter(|line| !["START ", "END ", "REPORT "].iter().any(|own| line.starts_with(own)));
        Ok(lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect())
    }

    fn function(&self, short: &str) -> Result<&String> {
        self.functions.get(short).with_context(|| format!("the stack has no function {short}"))
    }
}

//! The stack that a command acts on, and how its answer is printed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    caller,
    lambda::Lambda,
    laptop, outputs,
    place::Place,
    trouble::{NoAnswer, explained, is_denied},
};

/// Which stack to use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stack")]
pub struct Target {
    /// Use a stack in AWS instead of the local one that `turntable up` runs.
    #[arg(long)]
    pub aws: bool,
    /// The stack's name.
    #[arg(long, value_name = "NAME", env = "TURNTABLE_STACK", default_value = laptop::STACK)]
    pub stack: String,
    /// The profile of the AWS CLI's configuration; otherwise AWS_PROFILE and the other usual variables count.
    #[arg(long, value_name = "NAME", requires = "aws")]
    pub profile: Option<String>,
    /// The region; otherwise AWS_REGION or the profile's region counts.
    #[arg(long, value_name = "REGION", requires = "aws")]
    pub region: Option<String>,
}

/// How to print the result.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// The functions of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Function {
    Export,
    Flip,
    Optout,
    Sweep,
}

impl Function {
    pub fn name(self) -> &'static str {
        match self {
            Function::Export => "export",
            Function::Flip => "flip",
            Function::Optout => "optout",
            Function::Sweep => "sweep",
        }
    }

    /// Returns the stack's output that has the function's deployed name.
    fn output(self) -> &'static str {
        match self {
            Function::Export => "ExportFunctionName",
            Function::Flip => "FlipFunctionName",
            Function::Optout => "OptoutFunctionName",
            Function::Sweep => "SweepFunctionName",
        }
    }
}

/// A stack whose functions can be invoked.
pub struct Stack {
    name: String,
    is_aws: bool,
    place: Place,
    lambda: Lambda,
    /// The stack's outputs. `None` if the caller may not read them.
    outputs: Option<BTreeMap<String, String>>,
}

impl Target {
    /// Returns the account, without asking it anything.
    pub async fn place(&self) -> Result<Place> {
        match self.aws {
            true => Ok(Place::in_aws(self.profile.as_deref(), self.region.as_deref()).await),
            false => Place::local(&self.stack).map_err(|error| anyhow!(NoAnswer(error.to_string()))),
        }
    }

    /// Finds the stack's functions by its outputs.
    pub async fn connect(&self) -> Result<Stack> {
        let place = self.place().await?;
        let outputs = match outputs::of(&place.aws, &self.stack).await {
            Ok(outputs) => Some(outputs),
            // Invoking the functions needs no right to read the stack.
            Err(error) if is_denied(&error) => None,
            Err(error) => return Err(explained(error, &self.stack)),
        };
        let lambda = Lambda::new(&place.aws).map_err(|error| explained(error, &self.stack))?;
        Ok(Stack { name: self.stack.clone(), is_aws: self.aws, place, lambda, outputs })
    }

    /// Returns the options that select this stack again, for a command to print.
    pub fn options(&self) -> String {
        let mut options = String::new();
        if self.stack != laptop::STACK {
            options += &format!(" --stack {}", self.stack);
        }
        if self.aws {
            options += " --aws";
        }
        for (name, value) in [("profile", &self.profile), ("region", &self.region)] {
            options += &value.as_ref().map(|value| format!(" --{name} {value}")).unwrap_or_default();
        }
        options
    }
}

impl Stack {
    /// Invokes a function and returns its answer. Fails if the function fails.
    pub async fn invoke(&self, function: Function, request: &Value) -> Result<Value> {
        let answer = self.lambda.invoke_alias(&self.deployed(function)?, self.alias(function), request).await;
        Ok(answer.map_err(|error| explained(error, &self.name))??)
    }

    /// Invokes a function and reads its answer.
    pub async fn ask<T: DeserializeOwned>(&self, function: Function, request: &Value) -> Result<T> {
        serde_json::from_value(self.invoke(function, request).await?).with_context(|| {
            format!(
                "cannot read {}'s answer: the stack may run another version of Turntable than this command",
                function.name()
            )
        })
    }

    /// Returns the alias that operators are allowed to invoke, if the function has one. A stack whose template is older
    /// has none.
    fn alias(&self, function: Function) -> Option<&'static str> {
        let output = match function {
            Function::Flip => "FlipOperatorArn",
            Function::Optout => "OptoutOperatorArn",
            Function::Export | Function::Sweep => return None,
        };
        let has_alias = self.outputs.as_ref().is_none_or(|outputs| outputs.contains_key(output));
        has_alias.then_some("operator")
    }

    /// Returns the function's deployed name.
    fn deployed(&self, function: Function) -> Result<String> {
        match &self.outputs {
            None => Ok(format!("{}-{}", self.name, function.name())),
            Some(outputs) => outputs.get(function.output()).cloned().ok_or_else(|| {
                anyhow!(NoAnswer(format!(
                    "stack {} has no output {}: it is not Turntable's, or its template is older than this command. Deploy \
                     the current template",
                    self.name,
                    function.output()
                )))
            }),
        }
    }

    /// Returns one of the stack's outputs.
    pub fn output(&self, name: &str) -> Result<&str> {
        let found = self.outputs.as_ref().and_then(|outputs| outputs.get(name));
        let missing = || {
            NoAnswer(format!(
                "stack {} has no output {name} that you may read: deploy the current template, or get cloudformation:DescribeStacks",
                self.name
            ))
        };
        found.map(String::as_str).ok_or_else(|| anyhow!(missing()))
    }

    /// Returns the configuration for every service but Athena.
    pub fn aws(&self) -> &crate::aws::SdkConfig {
        &self.place.aws
    }

    /// Describes who acts on which stack.
    pub async fn described(&self) -> String {
        if !self.is_aws {
            return format!("you, on the local stack {}", self.name);
        }
        let region = self.place.aws.region().map(ToString::to_string).unwrap_or_default();
        let who = caller::arn(&self.place.aws).await;
        let who = who.unwrap_or_else(|_| "somebody whom STS does not name".into());
        format!("{who}, on stack {} in {region}", self.name)
    }
}

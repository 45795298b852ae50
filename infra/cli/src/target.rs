//! The stack that a command acts on, and how its answer is printed.

use std::{collections::BTreeMap, env};

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    athena::Results,
    caller,
    lambda::Lambda,
    laptop, outputs,
    place::Place,
    trouble::{Asked, NoAnswer, explained, is_denied, is_missing_function},
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
    /// The profile in the AWS CLI's configuration. By default, AWS_PROFILE and the other usual variables apply.
    #[arg(long, value_name = "NAME", requires = "aws")]
    pub profile: Option<String>,
    /// The region. By default, AWS_REGION or the profile's region applies.
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
    target: Target,
    place: Place,
    lambda: Lambda,
    /// The stack's outputs. `None` if the caller may not read them.
    outputs: Option<BTreeMap<String, String>>,
}

impl Target {
    /// Returns the account, without sending it a request.
    pub async fn place(&self) -> Result<Place> {
        match self.aws {
            true => Ok(Place::in_aws(self.profile.as_deref(), self.region.as_deref()).await),
            false => Place::local(&self.stack).map_err(|error| anyhow!(NoAnswer(error.to_string()))),
        }
    }

    /// Returns where Athena writes the results of queries: as the workgroup says, or on this machine into the emulator's
    /// bucket.
    pub fn results(&self, workgroup: &str) -> Results {
        match self.aws {
            true => Results::OfWorkgroup(workgroup.to_owned()),
            false => Results::In(format!("s3://{}/athena/", laptop::scratch_bucket(laptop::BUCKET))),
        }
    }

    /// Finds the stack's functions in its outputs.
    pub async fn connect(&self) -> Result<Stack> {
        let place = self.place().await?;
        let outputs = match outputs::of(&place.aws, &self.stack).await {
            Ok(outputs) => Some(outputs),
            // Invoking the functions needs no permission to read the stack.
            Err(error) if is_denied(&error) => None,
            Err(error) => return Err(self.explained(error)),
        };
        let lambda = Lambda::new(&place.aws).map_err(|error| self.explained(error))?;
        Ok(Stack { target: self.clone(), place, lambda, outputs })
    }

    /// Returns an error that says what to do, if the request could not be sent to the stack or was refused.
    pub fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        let variable = env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        let profile = self.profile.as_deref().or(variable.as_deref());
        explained(error, Asked { stack: &self.stack, profile })
    }

    /// Returns the options that select this stack, to print in the commands that the user may run next.
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
        let deployed = self.deployed(function)?;
        let answer = self.lambda.invoke_alias(&deployed, self.alias(function), request).await;
        Ok(answer.map_err(|error| match is_missing_function(&error) {
            true => self.without(function, &deployed),
            false => self.explained(error),
        })??)
    }

    /// Returns the error for a function that does not exist.
    fn without(&self, function: Function, deployed: &str) -> anyhow::Error {
        let Stack { target: Target { stack, .. }, outputs, .. } = self;
        let text = match (outputs, self.alias(function)) {
            (None, _) => format!(
                "no function {deployed} was found: check --stack, --profile and --region. If the functions have other names, \
                 get permission for cloudformation:DescribeStacks, so that this command can find them"
            ),
            (Some(_), None) => {
                format!("stack {stack} is there, but its function {deployed} is not: deploy the stack again")
            }
            (Some(_), Some(alias)) => format!(
                "stack {stack} is there, but its function {deployed} or the alias {alias} is not: deploy the stack again"
            ),
        };
        anyhow!(NoAnswer(text))
    }

    /// Invokes a function and parses its answer.
    pub async fn ask<T: DeserializeOwned>(&self, function: Function, request: &Value) -> Result<T> {
        serde_json::from_value(self.invoke(function, request).await?).with_context(|| {
            format!(
                "cannot read {}'s answer: the stack may run another version of Turntable than this command",
                function.name()
            )
        })
    }

    /// Returns the alias that operators are allowed to invoke, if the function has one. A stack with an older template
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
            None => Ok(format!("{}-{}", self.target.stack, function.name())),
            Some(outputs) => outputs.get(function.output()).cloned().ok_or_else(|| {
                anyhow!(NoAnswer(format!(
                    "stack {} has no output {}: it is not Turntable's, or its template is older than this command. Deploy \
                     the current template",
                    self.target.stack,
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
                "stack {} has no output {name} that you may read: deploy the current template, or get permission for cloudformation:DescribeStacks",
                self.target.stack
            ))
        };
        found.map(String::as_str).ok_or_else(|| anyhow!(missing()))
    }

    /// Returns the configuration for all services except Athena.
    pub fn aws(&self) -> &crate::aws::SdkConfig {
        &self.place.aws
    }

    /// Returns the configuration for Athena.
    pub fn athena(&self) -> &crate::aws::SdkConfig {
        &self.place.athena
    }

    /// Returns an error that says what to do, if the request could not be sent to the stack or was refused.
    pub fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        self.target.explained(error)
    }

    /// Describes the caller and the stack, for the prompt.
    pub async fn described(&self) -> String {
        if !self.target.aws {
            return format!("you, on the local stack {}", self.target.stack);
        }
        let region = self.place.aws.region().map(ToString::to_string).unwrap_or_default();
        let who = caller::arn(&self.place.aws).await;
        let who = who.unwrap_or_else(|_| "somebody whom STS does not name".into());
        format!("{who}, on stack {} in {region}", self.target.stack)
    }
}

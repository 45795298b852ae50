//! Calls AWS operations through `aws.py`, a Python process with botocore.
//!
//! The runner's Python environment has botocore anyway, and every additional SDK crate would lengthen the first build.
//! Functions are invoked by [`client::lambda`] instead.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, anyhow};
use client::laptop::REGION;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::environment::INHERITED;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/aws.py");

/// A handle to the Python process. The process ends when the last clone is dropped or this process ends, because both
/// close its stdin.
#[derive(Clone)]
pub struct Boto(Arc<Process>);

struct Process {
    /// `None` only while `Process` is being dropped.
    stdin: Mutex<Option<ChildStdin>>,
    child: Mutex<Child>,
    waiting: Arc<Mutex<Waiting>>,
    next_id: AtomicU64,
}

/// The callers that are waiting for an answer, by request id. `None` after the Python process has ended.
type Waiting = Option<HashMap<u64, oneshot::Sender<Answer>>>;

/// A line of the Python process's stdout: the result of the request `id`, or its error.
#[derive(Debug, Deserialize)]
struct Answer {
    id: u64,
    result: Option<Value>,
    error: Option<OperationError>,
}

/// An AWS error code with its message, or the class and message of any other Python exception.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OperationError {
    pub code: String,
    pub message: String,
}

impl std::fmt::Display for OperationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for OperationError {}

impl Boto {
    /// Starts the Python process, which sends all operations to `endpoint`.
    pub fn start(python: &Path, endpoint: &str) -> Result<Boto> {
        let mut command = Command::new(python);
        command.arg(SCRIPT).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.envs([
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_REGION", REGION),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("NO_PROXY", "127.0.0.1"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("PYTHONWARNINGS", "ignore"),
        ]);
        // In its own process group, the child gets no Ctrl-C from the terminal. Only this process gets it, and then
        // closes the pipe.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {} {SCRIPT}", python.display()))?;
        let stdin = child.stdin.take().context("aws.py has no stdin")?;
        let stdout = child.stdout.take().context("aws.py has no stdout")?;
        let waiting: Arc<Mutex<Waiting>> = Arc::new(Mutex::new(Some(HashMap::new())));
        // Uses a thread rather than a task, because the process may outlive the Tokio runtime that started it.
        let answered = waiting.clone();
        thread::Builder::new().name("aws.py".into()).spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str::<Answer>(&line) else {
                    eprintln!("aws.py printed a line that is not an answer: {line}");
                    break;
                };
                let caller = lock(&answered).as_mut().and_then(|callers| callers.remove(&answer.id));
                // A cancelled caller no longer waits, so sending to it may fail.
                let _ = caller.map(|caller| caller.send(answer));
            }
            // Dropping the senders gives an error to every caller that is still waiting.
            lock(&answered).take();
        })?;
        let process =
            Process { stdin: Mutex::new(Some(stdin)), child: Mutex::new(child), waiting, next_id: AtomicU64::new(0) };
        Ok(Boto(Arc::new(process)))
    }

    /// Returns a client for the account that an access key belongs to.
    pub fn account(&self, access_key: &str) -> Account {
        Account { boto: self.clone(), access_key: access_key.to_owned() }
    }

    async fn call(&self, access_key: &str, service: &str, operation: &str, parameters: Value) -> Result<Value> {
        let (sender, receiver) = oneshot::channel();
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let ended = || anyhow!("{service} {operation}: aws.py has ended; its last lines above say why");
        lock(&self.0.waiting).as_mut().ok_or_else(ended)?.insert(id, sender);
        let request = json!({
            "id": id, "access_key": access_key, "service": service, "operation": operation, "parameters": parameters,
        });
        let written = match lock(&self.0.stdin).as_mut() {
            Some(stdin) => writeln!(stdin, "{request}"),
            None => return Err(ended()),
        };
        written.with_context(|| format!("{service} {operation}: cannot write to aws.py"))?;
        let answer = receiver.await.map_err(|_| ended())?;
        match (answer.result, answer.error) {
            (Some(result), _) => Ok(result),
            (None, Some(error)) => Err(anyhow!(error).context(format!("{service} {operation}"))),
            (None, None) => Err(anyhow!("{service} {operation}: aws.py sent neither a result nor an error")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process ends when its stdin closes.
        drop(lock(&self.stdin).take());
        let _ = lock(&self.child).wait();
    }
}

/// Locks a mutex even if it is poisoned: a panic can't leave these values half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client for one account, with the operations, parameters and results that the runner needs.
#[derive(Clone)]
pub struct Account {
    boto: Boto,
    access_key: String,
}

/// The state of a CloudFormation stack, from `DescribeStacks`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StackState {
    /// `CREATE_IN_PROGRESS`, `CREATE_COMPLETE`, …
    #[serde(rename = "StackStatus")]
    pub status: String,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    output_key: String,
    output_value: String,
}

impl StackState {
    /// Returns the outputs by name.
    pub fn outputs(self) -> BTreeMap<String, String> {
        self.outputs.into_iter().map(|output| (output.output_key, output.output_value)).collect()
    }
}

impl Account {
    /// Starts to create a stack from a template in S3, without waiting until the stack is complete.
    pub async fn create_stack(&self, name: &str, template_url: &str, parameters: &[(&str, &str)]) -> Result<()> {
        let parameters: Vec<Value> =
            parameters.iter().map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value })).collect();
        let request = json!({
            "StackName": name, "TemplateURL": template_url, "Parameters": parameters,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        });
        self.call("cloudformation", "CreateStack", request).await.map(drop)
    }

    /// Returns the current state of a stack, which must exist.
    pub async fn stack(&self, name: &str) -> Result<StackState> {
        let result = self.call("cloudformation", "DescribeStacks", json!({ "StackName": name })).await?;
        let stack = result["Stacks"].get(0).with_context(|| format!("stack {name} does not exist"))?;
        Deserialize::deserialize(stack).with_context(|| format!("cannot read the state of stack {name}: {stack}"))
    }

    /// Returns the reasons in a stack's events as `RESOURCE: reason`, newest first.
    pub async fn stack_reasons(&self, name: &str) -> Result<Vec<String>> {
        let result = self.call("cloudformation", "DescribeStackEvents", json!({ "StackName": name })).await?;
        let line = |event: &Value| {
            let reason = event["ResourceStatusReason"].as_str().filter(|reason| !reason.is_empty())?;
            Some(format!("{}: {reason}", event["LogicalResourceId"].as_str().unwrap_or_default()))
        };
        Ok(result["StackEvents"].as_array().into_iter().flatten().filter_map(line).collect())
    }

    /// Returns the messages that a log group has received since a time in Unix milliseconds.
    pub async fn log_messages(&self, group: &str, since: i64) -> Result<Vec<String>> {
        let request = json!({ "logGroupName": group, "startTime": since });
        let result = self.call("logs", "FilterLogEvents", request).await?;
        let message = |event: &Value| event["message"].as_str().map(str::to_owned);
        Ok(result["events"].as_array().into_iter().flatten().filter_map(message).collect())
    }

    /// Returns a schedule's target, for [`Account::schedule_once`].
    pub async fn schedule_target(&self, name: &str) -> Result<Value> {
        let mut result = self.call("scheduler", "GetSchedule", json!({ "Name": name })).await?;
        Ok(result["Target"].take())
    }

    /// Creates a schedule that fires once, at a UTC time such as `2026-01-31T12:00:00`, and is then deleted.
    pub async fn schedule_once(&self, name: &str, at: &str, target: Value) -> Result<()> {
        let request = json!({
            "Name": name, "ScheduleExpression": format!("at({at})"), "Target": target,
            "ActionAfterCompletion": "DELETE", "FlexibleTimeWindow": { "Mode": "OFF" },
        });
        self.call("scheduler", "CreateSchedule", request).await.map(drop)
    }

    /// Returns a function's environment variables.
    pub async fn function_environment(&self, name: &str) -> Result<BTreeMap<String, String>> {
        let mut result = self.call("lambda", "GetFunctionConfiguration", json!({ "FunctionName": name })).await?;
        match result["Environment"]["Variables"].take() {
            Value::Null => Ok(BTreeMap::new()),
            variables => serde_json::from_value(variables).with_context(|| format!("cannot read {name}'s environment")),
        }
    }

    /// Sets a function's timeout in seconds.
    pub async fn set_function_timeout(&self, name: &str, seconds: u32) -> Result<()> {
        let request = json!({ "FunctionName": name, "Timeout": seconds });
        self.call("lambda", "UpdateFunctionConfiguration", request).await.map(drop)
    }

    /// Calls an operation by its botocore name and parameters, and returns the result.
    pub async fn call(&self, service: &str, operation: &str, parameters: Value) -> Result<Value> {
        self.boto.call(&self.access_key, service, operation, parameters).await
    }
}

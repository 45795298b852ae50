//! Checks the functions, their queues and the account's concurrency.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::report::{Line, is_denied};
use crate::lambda::{Lambda, named};

const FUNCTIONS: [&str; 4] = ["export", "flip", "optout", "sweep"];

/// The concurrency that Turntable needs in addition to the queues': for flips, sweep and engine exports.
const OTHERS: u32 = 5;

/// A function's settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Function {
    state: Option<String>,
    state_reason: Option<String>,
    last_update_status: Option<String>,
    environment: Environment,
    vpc_config: Option<Vpc>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Environment {
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Vpc {
    subnet_ids: Vec<String>,
}

impl Function {
    /// Returns the value of an environment variable, or `None` if it is unset or empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn is_in_vpc(&self) -> bool {
        self.vpc_config.as_ref().is_some_and(|vpc| !vpc.subnet_ids.is_empty())
    }
}

/// The stack's functions that could be read, by short name, and the lines about them in the report.
#[derive(Default)]
pub struct Functions {
    pub found: BTreeMap<&'static str, Function>,
    pub lines: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    account_limit: Limit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    concurrent_executions: u32,
    unreserved_concurrent_executions: u32,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Reserved {
    reserved_concurrent_executions: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Mappings {
    event_source_mappings: Vec<Mapping>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Mapping {
    event_source_arn: Option<String>,
    state: Option<String>,
    scaling_config: Option<Scaling>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Scaling {
    maximum_concurrency: Option<u32>,
}

/// Checks the stack's functions and the account's concurrency.
pub async fn functions(lambda: &Lambda, stack: &str) -> Functions {
    let mut all = Functions::default();
    let mut concurrency = OTHERS;
    for short in FUNCTIONS {
        let name = format!("{stack}-{short}");
        match read(lambda, &name).await {
            Ok(function) => {
                all.lines.push(state(&name, &function));
                all.found.insert(short, function);
            }
            Err(error) => {
                all.lines.push(refused("function", &name, &error, "lambda:GetFunctionConfiguration"));
                continue;
            }
        }
        match lambda.get::<Reserved>(&format!("/2019-09-30/functions/{name}/concurrency")).await {
            Ok(Reserved { reserved_concurrent_executions: reserved }) => all.lines.extend(reservation(&name, reserved)),
            Err(error) => all.lines.push(refused("concurrency", &name, &error, "lambda:GetFunctionConcurrency")),
        }
        if ["export", "optout"].contains(&short) {
            let path = format!("/2015-03-31/event-source-mappings/?FunctionName={name}");
            match lambda.get::<Mappings>(&path).await {
                Ok(mappings) => {
                    let found = mappings.event_source_mappings;
                    let most = found.iter().filter_map(|one| one.scaling_config.as_ref()?.maximum_concurrency);
                    concurrency += most.sum::<u32>();
                    all.lines.push(queue(&name, &found));
                }
                Err(error) => all.lines.push(refused("queue", &name, &error, "lambda:ListEventSourceMappings")),
            }
        }
    }
    all.lines.push(match lambda.get::<Settings>("/2016-08-19/account-settings/").await {
        Ok(settings) => account(&settings.account_limit, concurrency),
        Err(error) => refused("concurrency", "the account", &error, "lambda:GetAccountSettings"),
    });
    all
}

async fn read(lambda: &Lambda, name: &str) -> Result<Function> {
    lambda.get(&format!("/2015-03-31/functions/{}/configuration", named(name)?)).await
}

fn refused(check: &'static str, subject: &str, error: &anyhow::Error, permission: &str) -> Line {
    let text = format!("{error:#}");
    match is_denied(&text) {
        true => Line::unread(check, subject, "access is denied", permission),
        false => Line::fault(check, subject, text, "check the stack's name, the region and the account"),
    }
}

fn state(name: &str, function: &Function) -> Line {
    let (state, update) = (function.state.as_deref(), function.last_update_status.as_deref());
    // Lambda deactivates functions that haven't been invoked for weeks. The next invocation reactivates them.
    let works = !matches!(state, Some("Failed" | "Deactivated" | "ActiveNonInvocable")) && update != Some("Failed");
    match works {
        true => Line::ok("function", name, state.unwrap_or("Active")),
        false => {
            let reason = function.state_reason.as_deref().unwrap_or("Lambda gives no reason");
            let found = format!("{}, last update {}: {reason}", state.unwrap_or("Active"), update.unwrap_or("unknown"));
            Line::fault("function", name, found, "fix the cause that Lambda names, and deploy again")
        }
    }
}

fn reservation(name: &str, reserved: Option<u32>) -> Option<Line> {
    match reserved {
        Some(0) => Some(Line::fault(
            "concurrency",
            name,
            "its reserved concurrency is 0, so it never runs",
            "remove the reservation: aws lambda delete-function-concurrency",
        )),
        Some(reserved) => Some(Line::ok("concurrency", name, format!("{reserved} reserved"))),
        None => None,
    }
}

fn queue(name: &str, mappings: &[Mapping]) -> Line {
    let Some(mapping) = mappings.first() else {
        return Line::fault("queue", name, "no queue invokes it", "deploy the stack again");
    };
    let queue = mapping.event_source_arn.as_deref().and_then(|arn| arn.rsplit(':').next()).unwrap_or("its queue");
    match mapping.state.as_deref() {
        Some("Disabled" | "Disabling") => Line::fault(
            "queue",
            name,
            format!("{queue} doesn't invoke it: the event source mapping is disabled"),
            "enable it: aws lambda update-event-source-mapping --enabled",
        ),
        _ => Line::ok("queue", name, format!("{queue} invokes it")),
    }
}

fn account(limit: &Limit, needed: u32) -> Line {
    let (most, free) = (limit.concurrent_executions, limit.unreserved_concurrent_executions);
    let found = format!("{free} of {most} concurrent executions are unreserved, and Turntable may use {needed}");
    match free < needed {
        true => Line::warning(
            "concurrency",
            "the account",
            found,
            "request a higher quota (Lambda, \"Concurrent executions\"), or lower ExportConcurrency",
        ),
        false => Line::ok("concurrency", "the account", found),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::doctor::report::Status;

    #[test]
    fn function_that_failed_or_never_runs_is_a_fault() {
        let of = |json| state("f", &from_value(json).unwrap()).status;
        assert_eq!(of(json!({ "State": "Active", "LastUpdateStatus": "Successful" })), Status::Ok);
        assert_eq!(of(json!({ "State": "Inactive" })), Status::Ok);
        assert_eq!(of(json!({ "State": "Failed", "StateReason": "subnet is gone" })), Status::Fault);
        assert_eq!(of(json!({ "State": "Active", "LastUpdateStatus": "Failed" })), Status::Fault);
        assert_eq!(reservation("f", Some(0)).unwrap().status, Status::Fault);
        assert_eq!(reservation("f", Some(3)).unwrap().status, Status::Ok);
        assert_eq!(reservation("f", None), None);
    }

    #[test]
    fn function_without_an_enabled_queue_is_a_fault() {
        let of = |json| queue("f", &from_value::<Mappings>(json).unwrap().event_source_mappings);
        let mapping = |state| json!({ "EventSourceMappings": [{ "EventSourceArn": "arn:aws:sqs:eu-west-1:1:q", "State": state }] });
        assert_eq!(of(mapping("Enabled")), Line::ok("queue", "f", "q invokes it"));
        assert_eq!(of(mapping("Disabled")).status, Status::Fault);
        assert_eq!(of(json!({})).status, Status::Fault);
    }

    #[test]
    fn small_account_is_a_warning() {
        let limit = |free| Limit { concurrent_executions: 10, unreserved_concurrent_executions: free };
        assert_eq!(account(&limit(10), 11).status, Status::Warning);
        assert_eq!(account(&limit(10), 10).status, Status::Ok);
    }
}

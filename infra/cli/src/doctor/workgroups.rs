//! Checks Athena's workgroups.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_athena::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata},
    types::{WorkGroup, WorkGroupState},
};
use turntable::config::{Config, Source};

use super::report::{Line, is_denied};

const CHECK: &str = "workgroup";

/// How a workgroup is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum User {
    /// Readers run queries in the workgroup, and sweep lists these queries.
    Readers,
    /// The functions run queries in the workgroup.
    Functions,
}

/// Checks the workgroups that the functions and the datasets' readers use. `own` is the workgroup for flip's checks.
/// `output` is the results location that the functions specify, if any.
pub async fn lines(athena: &Client, config: Option<&Config>, own: Option<&str>, output: Option<&str>) -> Vec<Line> {
    let mut users: BTreeMap<&str, BTreeSet<User>> = BTreeMap::new();
    own.map(|own| users.entry(own).or_default().insert(User::Functions));
    for dataset in config.iter().flat_map(|config| config.datasets()) {
        for workgroup in &dataset.workgroups {
            users.entry(workgroup).or_default().insert(User::Readers);
        }
        if let Source::Athena(engine) = &dataset.source {
            users.entry(&engine.workgroup).or_default().insert(User::Functions);
        }
    }
    let mut lines = Vec::new();
    for (name, users) in users {
        match athena.get_work_group().work_group(name).send().await {
            Ok(answer) => {
                let workgroup = answer.work_group;
                let found = workgroup.map(|found| judged(name, &found, users.contains(&User::Functions), output));
                lines.extend(found.unwrap_or_default());
            }
            Err(error) => {
                let text = error.message().map_or_else(|| DisplayErrorContext(&error).to_string(), str::to_owned);
                lines.push(match is_denied(&text) || error.code() == Some("AccessDeniedException") {
                    true => Line::unread(CHECK, name, "access is denied", "athena:GetWorkGroup"),
                    false => Line::fault(CHECK, name, text, "create the workgroup, or correct its name"),
                });
            }
        }
    }
    lines
}

fn judged(name: &str, workgroup: &WorkGroup, runs_queries: bool, output: Option<&str>) -> Vec<Line> {
    if workgroup.state == Some(WorkGroupState::Disabled) {
        return vec![Line::fault(CHECK, name, "it is disabled, so no query runs in it", "enable the workgroup")];
    }
    if !runs_queries {
        return vec![Line::ok(CHECK, name, "readers may use it")];
    }
    let configuration = workgroup.configuration.as_ref();
    let mut lines = Vec::new();
    let engine = configuration.and_then(|found| found.engine_version()?.effective_engine_version());
    if let Some(engine) = engine.filter(|engine| is_old(engine)) {
        lines.push(Line::fault(
            "workgroup-engine",
            name,
            format!("its engine is {engine}"),
            "select the engine version AUTO or 3 in the workgroup's settings",
        ));
    }
    let managed = configuration
        .and_then(|found| found.managed_query_results_configuration())
        .is_some_and(|managed| managed.enabled);
    let location = configuration.and_then(|found| found.result_configuration()?.output_location());
    let enforced = configuration.and_then(|found| found.enforce_work_group_configuration) == Some(true);
    lines.extend(results(name, managed, location.filter(|place| !place.is_empty()), enforced, output));
    if lines.is_empty() {
        lines.push(Line::ok(CHECK, name, engine.unwrap_or("the functions' queries can run in it")));
    }
    lines
}

/// Returns whether an engine version, such as `Athena engine version 3`, is older than the one that Turntable needs.
fn is_old(engine: &str) -> bool {
    let number = engine.rsplit(' ').next().and_then(|word| word.parse::<u32>().ok());
    number.is_some_and(|number| number < 3)
}

/// Checks where a workgroup stores the results of the functions' queries.
fn results(name: &str, managed: bool, location: Option<&str>, enforced: bool, output: Option<&str>) -> Option<Line> {
    const CHECK: &str = "workgroup-results";
    match (managed, output, location) {
        (true, Some(_), _) => Some(Line::warning(
            CHECK,
            name,
            "it manages query results and rejects the location that the functions set, so they send each query twice",
            "deploy with AthenaResults=WORKGROUP",
        )),
        (true, None, _) => None,
        (false, None, None) => Some(Line::fault(
            CHECK,
            name,
            "it has no location for results, and the functions set none (AthenaResults=WORKGROUP): every query fails",
            "set the workgroup's location, or deploy with AthenaResults=BUCKET",
        )),
        (false, Some(output), Some(location)) if enforced && !location.starts_with(output) => {
            Some(elsewhere(CHECK, name, location))
        }
        (false, None, Some(location)) => Some(elsewhere(CHECK, name, location)),
        (false, Some(_), _) => None,
    }
}

fn elsewhere(check: &'static str, name: &str, location: &str) -> Line {
    let arn = format!("arn:aws:s3:::{}/*", location.trim_start_matches("s3://").trim_end_matches('/'));
    Line::warning(
        check,
        name,
        format!("it puts results into {location}: without permission to write there, every query fails"),
        format!("deploy with AthenaResultsArn={arn} (or check that it is set)"),
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_athena::types::{EngineVersion, WorkGroupConfiguration};

    use super::*;
    use crate::doctor::report::Status;

    const OUTPUT: &str = "s3://lake/_athena/";

    #[test]
    fn results_must_have_a_place_where_the_functions_may_write() {
        let of = |managed, location, enforced, output| {
            results("w", managed, location, enforced, output).map(|line| line.status)
        };
        assert_eq!(of(false, None, false, Some(OUTPUT)), None);
        assert_eq!(of(false, Some("s3://x/"), false, Some(OUTPUT)), None);
        assert_eq!(of(false, Some("s3://lake/_athena/team/"), true, Some(OUTPUT)), None);
        assert_eq!(of(false, Some("s3://x/"), true, Some(OUTPUT)), Some(Status::Warning));
        assert_eq!(of(false, Some("s3://x/"), false, None), Some(Status::Warning));
        assert_eq!(of(false, None, false, None), Some(Status::Fault));
        assert_eq!(of(true, None, true, Some(OUTPUT)), Some(Status::Warning));
        assert_eq!(of(true, None, true, None), None);
        let line = results("w", false, Some("s3://x/team/"), true, Some(OUTPUT)).unwrap();
        assert!(line.todo.starts_with("deploy with AthenaResultsArn=arn:aws:s3:::x/team/* "), "{}", line.todo);
    }

    #[test]
    fn disabled_workgroup_and_old_engine_are_faults() {
        let workgroup = |state, engine: &str| {
            let engine = EngineVersion::builder().effective_engine_version(engine).build();
            let configuration = WorkGroupConfiguration::builder().engine_version(engine).build();
            WorkGroup::builder().name("w").state(state).configuration(configuration).build().unwrap()
        };
        let of = |state, engine, queries| {
            judged("w", &workgroup(state, engine), queries, Some(OUTPUT)).into_iter().map(|line| line.check).collect()
        };
        let status = |state, engine, queries| judged("w", &workgroup(state, engine), queries, Some(OUTPUT))[0].status;
        let (enabled, new, old) = (WorkGroupState::Enabled, "Athena engine version 3", "Athena engine version 2");
        assert_eq!(status(enabled.clone(), new, true), Status::Ok);
        assert_eq!(status(WorkGroupState::Disabled, new, false), Status::Fault);
        assert_eq!(status(enabled.clone(), old, true), Status::Fault);
        let checks: Vec<&str> = of(enabled.clone(), old, true);
        assert_eq!(checks, ["workgroup-engine"]);
        assert_eq!(status(enabled, old, false), Status::Ok);
    }
}

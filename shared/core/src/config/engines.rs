//! Reads `source.athena` and `source.glue_job`: engines that write a generation's files themselves.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    names, query,
    read::Keys,
    source::{Athena, GlueJob, Source},
};

/// The prefix of the job arguments that `export` adds. The arguments in `datasets.toml` must not start with it.
pub const OURS: &str = "--turntable_";

/// The arguments that Glue itself reads ("Using job parameters in AWS Glue jobs" in the Glue guide, including the ones
/// that it calls internal). Some run other code with the job's role, and some set where the job writes, so only the
/// job's definition may set them.
const GLUES: [&str; 51] = [
    "additional-python-modules",
    "auto-scale-within-microbatch",
    "class",
    "conf",
    "continuous-log-conversionpattern",
    "continuous-log-loggroup",
    "continuous-log-logstreamprefix",
    "customer-driver-env-vars",
    "customer-executor-env-vars",
    "datalake-formats",
    "debug",
    "disable-proxy",
    "disable-proxy-v2",
    "enable-auto-scaling",
    "enable-continuous-cloudwatch-log",
    "enable-continuous-log-filter",
    "enable-glue-datacatalog",
    "enable-job-insights",
    "enable-lakeformation-fine-grained-access",
    "enable-metrics",
    "enable-observability-metrics",
    "enable-rename-algorithm-v2",
    "enable-s3-parquet-optimized-committer",
    "enable-spark-ui",
    "endpoint",
    "execution-class",
    "extra-files",
    "extra-jars",
    "extra-py-files",
    "job-bookmark-from",
    "job-bookmark-option",
    "job-bookmark-to",
    "job-id",
    "job-language",
    "job-name",
    "job-run-id",
    "library-set",
    "mode",
    "number-of-workers",
    "pip-install",
    "python-modules-installer-option",
    "script-location",
    "scriptlocation",
    "security-configuration",
    "spark-event-logs-path",
    "tempdir",
    "use-postgres-driver",
    "user-jars-first",
    "verbose",
    "worker-type",
    "write-shuffle-files-to-s3",
];

/// The longest timeout that can be configured. Glue's own maximum is one minute less.
const MAX_TIMEOUT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// "Jobs must have timeout values less than 7 days or 10080 minutes. Otherwise, the jobs will throw an exception."
/// (`Timeout` in the `StartJobRun` reference.)
const MAX_GLUE_MINUTES: u64 = 10_079;

pub fn athena(keys: Keys) -> Option<Athena> {
    let query = keys.parsed("query", query::unload);
    let workgroup = keys.parsed("workgroup", workgroup);
    let partition_by = names::folders(&keys);
    for (key, missing) in [("query", !keys.has("query")), ("workgroup", !keys.has("workgroup"))] {
        if missing {
            keys.fault_here(format!("{key} is missing"));
        }
    }
    keys.finish();
    Some(Athena { query: query?, workgroup: workgroup?, partition_by })
}

/// Checks a name against the pattern for `WorkGroup` in the `StartQueryExecution` reference.
pub fn workgroup(text: &str) -> Result<String, String> {
    let good = text.len() <= 128 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if good {
        return Ok(text.into());
    }
    Err(format!("{text:?} is not a workgroup name: use at most 128 characters of a-z, A-Z, 0-9, ., _ and -"))
}

pub fn glue_job(keys: Keys) -> Option<GlueJob> {
    let name = keys.string("name").map(str::to_owned);
    let mut arguments = BTreeMap::new();
    if let Some(given) = keys.table("arguments") {
        for (argument, value) in given.all() {
            match value.as_str() {
                None => given.fault(argument, "expected a string: Glue passes only strings to a job"),
                Some(_) if !argument.starts_with("--") => {
                    given.fault(
                        argument,
                        format!("expected \"--{argument}\": the names of job arguments begin with --"),
                    );
                }
                Some(_) if argument.starts_with(OURS) => {
                    given.fault(argument, format!("names that begin with {OURS} are reserved for export"));
                }
                Some(_) if is_glues(argument) => {
                    given.fault(
                        argument,
                        format!(
                            "Glue itself reads {argument:?}, so it could run other code: set it in the job's definition"
                        ),
                    );
                }
                Some(value) => drop(arguments.insert(argument.clone(), value.to_owned())),
            }
        }
    }
    let timeout = keys.duration("timeout");
    if timeout.is_some_and(|timeout| !(SignedDuration::from_mins(1)..=MAX_TIMEOUT).contains(&timeout)) {
        keys.fault("timeout", "expected a duration from 1m to 7d");
    }
    for (key, missing) in [("name", !keys.has("name")), ("timeout", !keys.has("timeout"))] {
        if missing {
            keys.fault_here(format!("{key} is missing"));
        }
    }
    keys.finish();
    // Glue accepts only whole minutes, so the timeout is rounded up.
    let minutes = timeout?.as_secs().unsigned_abs().div_ceil(60).min(MAX_GLUE_MINUTES);
    let timeout = u32::try_from(minutes).unwrap_or(u32::MAX);
    Some(GlueJob { name: name?, arguments, timeout })
}

/// Returns whether Glue itself reads this argument, even if it is written in another letter case, or with the `_` and
/// `=` that an argument parser accepts.
fn is_glues(argument: &str) -> bool {
    let name = argument.trim_start_matches('-').split('=').next().unwrap_or_default();
    GLUES.contains(&name.to_ascii_lowercase().replace('_', "-").as_str())
}

/// Rejects settings that have no effect if an engine writes the files.
pub fn writes_itself(keys: &Keys, source: Option<&Source>) {
    if !source.is_some_and(Source::is_engine) {
        return;
    }
    for key in ["parquet", "on_unrepresentable"] {
        if keys.has(key) {
            keys.fault(
                key,
                "has no effect, because athena and glue_job write the files themselves: configure it there and remove it \
                 here",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, test_support::without_positions};

    fn parse(source: &str, more: &str) -> Result<Config, String> {
        let defaults = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";
        let text = format!("{defaults}[datasets.a]\nsource = {{ {source} }}\n{more}\n");
        Config::parse("x", &text).map_err(|error| without_positions(error.message()))
    }

    #[test]
    fn engines_are_read_with_all_keys() {
        let config = parse(
            "athena = { query = \"-- day\\n/* x */ SELECT 1 AS a, 2 AS dt ; \", workgroup = \"etl\", partition_by = [\"DT\"] }",
            "",
        )
        .unwrap();
        let dataset = config.dataset("a").unwrap();
        let Source::Athena(athena) = &dataset.source else { panic!("{:?}", dataset.source) };
        assert_eq!(athena.query, "-- day\n/* x */ SELECT 1 AS a, 2 AS dt");
        assert_eq!((athena.workgroup.as_str(), &dataset.partition_by), ("etl", &vec!["dt".to_owned()]));

        let job = "glue_job = { name = \"j\", arguments = { \"--day\" = \"1\" }, timeout = \"90s\" }";
        let config = parse(job, "partition_by = [\"dt\"]").unwrap();
        let dataset = config.dataset("a").unwrap();
        let arguments = BTreeMap::from([("--day".to_owned(), "1".to_owned())]);
        assert_eq!(dataset.source, Source::GlueJob(GlueJob { name: "j".into(), arguments, timeout: 2 }));
        assert_eq!(dataset.partition_by, ["dt"]);
    }

    #[test]
    fn a_timeout_of_seven_days_is_the_longest_that_glue_accepts() {
        for (given, minutes) in [("7d", 10_079), ("167h", 10_020), ("1m", 1)] {
            let config = parse(&format!("glue_job = {{ name = \"j\", timeout = \"{given}\" }}"), "").unwrap();
            let Source::GlueJob(job) = &config.dataset("a").unwrap().source else { panic!("{given}") };
            assert_eq!(job.timeout, minutes, "{given}");
        }
    }

    #[test]
    fn arguments_that_glue_reads_are_refused_in_any_spelling() {
        let job = |argument: &str| {
            format!("glue_job = {{ name = \"j\", arguments = {{ \"{argument}\" = \"x\" }}, timeout = \"90s\" }}")
        };
        for argument in ["--scriptLocation", "--extra-py-files", "--extra_py_files", "--EXTRA-JARS=s3://x", "--TempDir"]
        {
            let fault = format!(
                "x: datasets.a.source.glue_job.arguments.{argument}: Glue itself reads {argument:?}, so it could run other \
                 code: set it in the job's definition"
            );
            assert_eq!(parse(&job(argument), "").unwrap_err(), fault);
        }
        parse(&job("--day"), "").unwrap();
    }

    #[test]
    fn settings_that_an_engine_would_refuse_are_faults() {
        for (source, more, fault) in [
            (
                "athena = {}",
                "",
                "x: datasets.a.source.athena: query is missing\nx: datasets.a.source.athena: workgroup is missing",
            ),
            (
                "athena = { query = \"UNLOAD (SELECT 1) TO 's3://x/'\", workgroup = \"a b\" }",
                "parquet = { file_mb = 1 }\non_unrepresentable = \"null\"",
                "x: datasets.a.source.athena.query: expected only the query: Turntable adds UNLOAD, TO and WITH itself\n\
                 x: datasets.a.source.athena.workgroup: \"a b\" is not a workgroup name: use at most 128 characters of a-z, A-Z, 0-9, ., _ and -",
            ),
            (
                "athena = { query = \"CREATE TABLE t AS SELECT 1\", workgroup = \"a\" }",
                "",
                "x: datasets.a.source.athena.query: expected a query that begins with SELECT, WITH, VALUES or TABLE: \
                 UNLOAD doesn't accept CREATE",
            ),
            (
                "athena = { query = \"(SELECT 1 AS a)\", workgroup = \"a\" }",
                "parquet = { file_mb = 1 }\non_unrepresentable = \"null\"",
                "x: datasets.a.parquet: has no effect, because athena and glue_job write the files themselves: \
                 configure it there and remove it here\n\
                 x: datasets.a.on_unrepresentable: has no effect, because athena and glue_job write the files \
                 themselves: configure it there and remove it here",
            ),
            (
                "athena = { query = \"SELECT 1\", workgroup = \"a\", partition_by = [\"dt\"] }",
                "partition_by = [\"dt\"]",
                "x: datasets.a.partition_by: also set in source.athena: remove one of the two",
            ),
            (
                "glue_job = { arguments = { day = \"1\", \"--n\" = 1, \"--turntable_location\" = \"s3://x/\" }, timeout = \"8d\" }",
                "",
                "x: datasets.a.source.glue_job.arguments.day: expected \"--day\": the names of job arguments begin with --\n\
                 x: datasets.a.source.glue_job.arguments.--n: expected a string: Glue passes only strings to a job\n\
                 x: datasets.a.source.glue_job.arguments.--turntable_location: names that begin with --turntable_ are reserved for export\n\
                 x: datasets.a.source.glue_job.timeout: expected a duration from 1m to 7d\n\
                 x: datasets.a.source.glue_job: name is missing",
            ),
            (
                "inbox = { location = \"s3://lake/inbox\", key = \"id\", reconcile = { athena = {} } }",
                "",
                "x: datasets.a.source.inbox.reconcile: expected exactly one of postgres, mysql, files, found 0\n\
                 x: datasets.a.source.inbox.reconcile: unknown key \"athena\", expected one of postgres, mysql, files",
            ),
        ] {
            assert_eq!(parse(source, more).unwrap_err(), fault, "{source}");
        }
    }
}

//! Writes CloudWatch metrics as log lines in the Embedded Metric Format. CloudWatch extracts the metrics from a
//! function's log, so neither an API call nor an agent is needed. The format is specified at
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
//!
//! Each metric is recorded with the dimension `Stack`, for alarms that cover all datasets. It is recorded again with
//! the dimensions `Stack` and `Dataset`, unless the environment variable `DATASET_METRICS` is `false`, because
//! CloudWatch charges for each dataset's metrics.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::environment;

pub const NAMESPACE: &str = "Turntable";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Rows in an exported generation.
    Rows,
    Bytes,
    ExportTime,
    FlipTime,
    /// Exports from a database whose TLS certificate was not verified.
    UnverifiedTls,
    /// Failed engine runs.
    EngineFailed,
    /// Candidates whose audit failed.
    Rejected,
    /// Tables that have drifted, counted each time that drift is detected.
    Drift,
    /// Objects in a live opt-out table that are missing, changed or unexpected.
    DamagedLive,
    /// Views that were missing, differed from their definition or could not be repaired, counted each time that a
    /// refresh compares them.
    ViewDrift,
    /// Time since the live generation's snapshot was taken or, if the dataset has its own schedules, since the first
    /// due time after it. Each sweep reports it for each dataset that is refreshed by a schedule and is not an inbox.
    LiveAge,
    /// Time by which the live generation is older than the dataset's own interval allows, or 0. Only for the whole
    /// stack.
    LiveOverdue,
    /// Bytes that sweep has deleted.
    SweptBytes,
    /// Time since the oldest replaced generation that still exists was replaced.
    OldestReplaced,
    /// The time by which [`Metric::OldestReplaced`] exceeds the dataset's `max_age`, or 0.
    BeyondMaxAge,
    /// For the drops that a refresh read: the longest time from a drop's upload to the flip that made it live, or to
    /// the end of the refresh if nothing went live.
    OptoutLag,
    /// Errors in a dataset's entry in `datasets.toml`, counted by each invocation.
    ConfigFaults,
    /// Faults in a bucket's settings, counted each time that a sweep checks them. `Dataset` is the bucket's name.
    BucketSettings,
    /// Records that a refresh rejected and set aside.
    RejectedRecords,
    /// People who had opted out and whom a refresh opted back in.
    Returning,
    /// People whom drops would opt back in but who stay opted out because of `max_returning`. Each refresh counts them
    /// until an operator decides.
    HeldReturning,
}

impl Metric {
    /// Returns the metric's name and its CloudWatch unit.
    pub fn name(self) -> (&'static str, &'static str) {
        match self {
            Metric::Rows => ("Rows", "Count"),
            Metric::Bytes => ("Bytes", "Bytes"),
            Metric::ExportTime => ("ExportTime", "Seconds"),
            Metric::FlipTime => ("FlipTime", "Seconds"),
            Metric::UnverifiedTls => ("UnverifiedTls", "Count"),
            Metric::EngineFailed => ("EngineFailed", "Count"),
            Metric::Rejected => ("Rejected", "Count"),
            Metric::Drift => ("Unflips", "Count"),
            Metric::DamagedLive => ("DamagedLive", "Count"),
            Metric::ViewDrift => ("ViewDrift", "Count"),
            Metric::LiveAge => ("LiveAge", "Seconds"),
            Metric::LiveOverdue => ("LiveOverdue", "Seconds"),
            Metric::SweptBytes => ("SweptBytes", "Bytes"),
            Metric::OldestReplaced => ("OldestReplaced", "Seconds"),
            Metric::BeyondMaxAge => ("BeyondMaxAge", "Seconds"),
            Metric::OptoutLag => ("OptoutLag", "Seconds"),
            Metric::ConfigFaults => ("ConfigFaults", "Count"),
            Metric::BucketSettings => ("BucketSettings", "Count"),
            Metric::RejectedRecords => ("RejectedRecords", "Count"),
            Metric::Returning => ("Returning", "Count"),
            Metric::HeldReturning => ("HeldReturning", "Count"),
        }
    }
}

/// Writes one log line with a dataset's metrics. Does nothing unless the environment variable `STACK` names the stack.
pub fn emit(now: Timestamp, dataset: &str, metrics: &[(Metric, f64)]) {
    if let Some(stack) = environment::optional("STACK") {
        let each = environment::optional("DATASET_METRICS").as_deref() != Some("false");
        println!("{}", line(now, &stack, dataset, each, metrics));
    }
}

/// Writes one log line with those metrics of a dataset that have no dimension `Dataset`, such as one that only an alarm
/// uses.
pub fn emit_for_stack(now: Timestamp, dataset: &str, metrics: &[(Metric, f64)]) {
    if let Some(stack) = environment::optional("STACK") {
        println!("{}", line(now, &stack, dataset, false, metrics));
    }
}

/// Returns the log line. `each` says whether `Dataset` is a dimension. The line always names the dataset, so that the
/// log can be searched for it.
fn line(now: Timestamp, stack: &str, dataset: &str, each: bool, metrics: &[(Metric, f64)]) -> Value {
    let dimensions = if each { json!([["Stack"], ["Stack", "Dataset"]]) } else { json!([["Stack"]]) };
    let definitions: Vec<Value> = metrics
        .iter()
        .map(|(metric, _)| {
            let (name, unit) = metric.name();
            json!({ "Name": name, "Unit": unit })
        })
        .collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [
                { "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions },
            ],
        }),
    );
    line.insert("Stack".into(), stack.into());
    line.insert("Dataset".into(), dataset.into());
    line.extend(metrics.iter().map(|(metric, value)| (metric.name().0.to_owned(), json!(value))));
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_the_embedded_metric_format() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(
            line(now, "prod", "users", true, &[(Metric::Rejected, 1.0), (Metric::FlipTime, 0.25)]),
            json!({
                "_aws": {
                    "Timestamp": 1_700_000_000_000_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Turntable",
                        "Dimensions": [["Stack"], ["Stack", "Dataset"]],
                        "Metrics": [{ "Name": "Rejected", "Unit": "Count" }, { "Name": "FlipTime", "Unit": "Seconds" }],
                    }],
                },
                "Stack": "prod",
                "Dataset": "users",
                "Rejected": 1.0,
                "FlipTime": 0.25,
            })
        );
    }

    #[test]
    fn dataset_can_be_left_out_of_the_dimensions() {
        let line = line(Timestamp::UNIX_EPOCH, "prod", "users", false, &[(Metric::Rows, 1.0)]);
        let found = (&line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], &line["Dataset"]);
        assert_eq!(found, (&json!([["Stack"]]), &json!("users")));
    }
}

//! Metrics for CloudWatch, as lines of the log: no call, no agent. CloudWatch reads whatever is of its Embedded Metric
//! Format out of a function's log
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
//!
//! Each metric is there by `Stack`, for alarms that need not know the datasets, and by `Stack` and `Dataset`, unless the
//! environment variable `DATASET_METRICS` is `false`: CloudWatch charges for each metric of each dataset.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::environment;

pub const NAMESPACE: &str = "Turntable";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Of a generation that was exported.
    Rows,
    Bytes,
    ExportTime,
    FlipTime,
    /// Runs of engines that have come to nothing.
    EngineFailed,
    /// Candidates whose audit failed.
    Rejected,
    /// Tables that somebody else has moved, each time that it is seen.
    Unflips,
    /// How long ago the snapshot of what is live was taken, of a dataset with a schedule. Told by every sweep.
    LiveAge,
    /// Bytes that sweep has deleted.
    SweptBytes,
    /// How long ago the oldest replaced generation that is still there was replaced.
    OldestReplaced,
    /// How much longer than `max_age` it has been there.
    BeyondMaxAge,
    /// From the put of a drop to the flip that it is in, or until now while it waits: the longest of a refresh.
    OptoutLag,
    /// Records of drops that were set aside.
    RejectedRecords,
}

impl Metric {
    /// Its name and its unit, one of CloudWatch's.
    pub fn name(self) -> (&'static str, &'static str) {
        match self {
            Metric::Rows => ("Rows", "Count"),
            Metric::Bytes => ("Bytes", "Bytes"),
            Metric::ExportTime => ("ExportTime", "Seconds"),
            Metric::FlipTime => ("FlipTime", "Seconds"),
            Metric::EngineFailed => ("EngineFailed", "Count"),
            Metric::Rejected => ("Rejected", "Count"),
            Metric::Unflips => ("Unflips", "Count"),
            Metric::LiveAge => ("LiveAge", "Seconds"),
            Metric::SweptBytes => ("SweptBytes", "Bytes"),
            Metric::OldestReplaced => ("OldestReplaced", "Seconds"),
            Metric::BeyondMaxAge => ("BeyondMaxAge", "Seconds"),
            Metric::OptoutLag => ("OptoutLag", "Seconds"),
            Metric::RejectedRecords => ("RejectedRecords", "Count"),
        }
    }
}

/// Writes one line, if the environment variable `STACK` names the stack.
pub fn emit(now: Timestamp, dataset: &str, metrics: &[(Metric, f64)]) {
    if let Some(stack) = environment::optional("STACK") {
        let each = environment::optional("DATASET_METRICS").as_deref() != Some("false");
        println!("{}", line(now, &stack, dataset, each, metrics));
    }
}

/// Also without a dimension of its own, the dataset stands in the line, for whoever searches the log.
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
    fn a_line_is_of_the_embedded_metric_format() {
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
    fn a_dataset_can_be_left_out_of_the_dimensions() {
        let line = line(Timestamp::UNIX_EPOCH, "prod", "users", false, &[(Metric::Rows, 1.0)]);
        let told = (&line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], &line["Dataset"]);
        assert_eq!(told, (&json!([["Stack"]]), &json!("users")));
    }
}

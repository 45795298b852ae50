//! The functions' metrics on the real chain: every line follows the rules of the embedded metric format, and each event
//! that an alarm needs is there. Only AWS can show that CloudWatch turns the lines into metrics.

#![allow(clippy::disallowed_methods, reason = "the lines are as old as the real clock says")]

use std::{collections::BTreeMap, env, fs};

use cli::{laptop::REGION, workspace};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Chain, USERS, users};

#[tokio::test(flavor = "multi_thread")]
async fn every_function_logs_the_metrics_of_alarms_and_dashboards() {
    let chain = Chain::start(&format!("{USERS}checks = {{ min_rows = 5 }}\n")).await;
    let export = json!({ "dataset": "users" });
    chain.put("source/users/a.csv", users(10, 1)).await.unwrap();
    chain.ask("export", &export).await;
    let blue = chain.next("users", None).await;
    chain.put("source/users/a.csv", users(20, 2)).await.unwrap();
    chain.ask("export", &export).await;
    let green = chain.next("users", Some(&chain.paths("users").generation(&blue))).await;

    chain.put("source/users/a.csv", users(1, 3)).await.unwrap();
    chain.ask("export", &export).await;
    let rejected = chain.until("a rejection", async || metrics(&chain, "flip").await.get("Rejected").cloned()).await;
    assert_eq!(rejected[0], 1.0);

    // The table drifts. The emulator sends no event about that, so the test invokes the function with one.
    let input = tests::catalog::moved(&chain.table("users").await.unwrap(), &chain.paths("users").generation(&blue));
    chain.glue.update_table().database_name("dmp").table_input(input).send().await.unwrap();
    let event = serde_json::from_str(include_str!("../../../../events/flip-glue.json")).unwrap();
    let told = chain.ask("flip", &event).await;
    assert!(told["reasons"][0].as_str().unwrap().contains(&green.to_string()), "{told}");
    let status = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
    assert_eq!(status["unflip"], told["reasons"][0]);
    let swept = chain.ask("sweep", &json!({})).await;
    assert_eq!(swept["notes"][0], told["reasons"][0], "{swept}");
    // An operator goes back to the generation that was live before the drift.
    chain.ask("flip", &json!({ "dataset": "users", "action": "rollback", "generation": green })).await;
    chain.ask("sweep", &json!({})).await;

    let exported = metrics(&chain, "export").await;
    assert_eq!((&exported["Rows"], exported["Bytes"].len()), (&vec![10.0, 20.0, 1.0], 3));
    let seconds = [&exported["ExportTime"][..], &metrics(&chain, "flip").await["FlipTime"]].concat();
    assert!(seconds.len() >= 5 && seconds.iter().all(|seconds| (0.0..90.0).contains(seconds)), "{seconds:?}");
    assert_eq!(metrics(&chain, "flip").await["Unflips"], [1.0]);
    let swept = metrics(&chain, "sweep").await;
    assert_eq!((&swept["Unflips"], swept["BeyondMaxAge"].last()), (&vec![1.0], Some(&0.0)));
    assert!(swept["LiveAge"].len() == 2 && swept["LiveAge"].iter().all(|age| (0.0..300.0).contains(age)), "{swept:?}");
    assert_eq!(swept["LiveOverdue"], [0.0, 0.0]);
    let oldest = *swept["OldestReplaced"].last().unwrap();
    assert!((0.0..300.0).contains(&oldest) && swept["SweptBytes"].iter().all(|bytes| *bytes == 0.0), "{swept:?}");
}

/// Draws the stack's dashboard with `infra/local/dashboard.py`, into the file that `DASHBOARD` names if it is set.
/// Returns the SVG.
pub async fn dashboard(chain: &Chain) -> String {
    let emulator = super::emulator().await;
    let drawn = concat!(env!("CARGO_TARGET_TMPDIR"), "/dashboard.svg");
    let file = workspace::root().join(env::var("DASHBOARD").unwrap_or(drawn.into()));
    let output = Command::new(&emulator.tools.python)
        .arg(workspace::root().join("infra/local/dashboard.py"))
        .args([chain.name.as_str(), file.to_str().unwrap()])
        .env("AWS_ENDPOINT_URL", &emulator.endpoint)
        .env("AWS_ACCESS_KEY_ID", &chain.account)
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", REGION)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(file).unwrap()
}

/// Returns the values of each metric that a function has written for the dataset `users`, in order.
async fn metrics(chain: &Chain, function: &str) -> BTreeMap<String, Vec<f64>> {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in chain.logs(function, 0).await.unwrap() {
        if line.get("_aws").is_none() {
            continue;
        }
        assert_eq!(line["Dataset"], "users", "{line}");
        for (name, value) in checked(&line) {
            values.entry(name).or_default().push(value);
        }
    }
    values
}

/// The CloudWatch units that Turntable uses.
const UNITS: [&str; 3] = ["Seconds", "Bytes", "Count"];

/// Returns the metrics in a line. Panics if the line breaks the rules of the embedded metric format:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
fn checked(line: &Value) -> Vec<(String, f64)> {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(line.to_string().len() <= 256 << 10);
    let root = &line["_aws"];
    assert_eq!(keys(root), ["CloudWatchMetrics", "Timestamp"]);
    let at = Timestamp::from_millisecond(root["Timestamp"].as_i64().expect("milliseconds")).unwrap();
    assert!(Timestamp::now().duration_since(at).as_secs().abs() < 600, "{line}");
    let [directive] = &root["CloudWatchMetrics"].as_array().unwrap()[..] else { panic!("{line}") };
    assert_eq!(keys(directive), ["Dimensions", "Metrics", "Namespace"]);
    assert_eq!(directive["Namespace"], "Turntable");
    // Only an alarm on the whole stack reads `LiveOverdue`.
    let is_for_stack = directive["Metrics"][0]["Name"] == "LiveOverdue";
    let dimensions = if is_for_stack { json!([["Stack"]]) } else { json!([["Stack"], ["Stack", "Dataset"]]) };
    assert_eq!(directive["Dimensions"], dimensions);
    for dimension in ["Stack", "Dataset"] {
        let value =
            line[dimension].as_str().unwrap_or_else(|| panic!("{dimension} is no string at the root of {line}"));
        assert!((1..=1024).contains(&value.len()) && value.is_ascii());
    }
    let metrics = directive["Metrics"].as_array().unwrap();
    assert!((1..=100).contains(&metrics.len()));
    let metric = |metric: &Value| {
        assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()), "{metric}");
        let name = metric["Name"].as_str().unwrap().to_owned();
        let value = line[&name].as_f64().unwrap_or_else(|| panic!("{name} is no number at the root of {line}"));
        (name, value)
    };
    metrics.iter().map(metric).collect()
}

//! The data of the overview: `flip`'s status of all datasets, and what the configuration adds to it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use turntable::config::{Config, Dataset, Source};

use super::stack::{Connected, now};
use crate::graph;

/// What the configuration says about a dataset.
#[derive(Debug, Serialize)]
pub struct Configured {
    pub table: String,
    /// The kind of the source, such as `postgres`.
    pub source: &'static str,
    pub group: Option<String>,
    /// When it is refreshed, in words.
    pub refresh: String,
    /// The seconds between the next two due times. `None` without a schedule of its own.
    pub interval_seconds: Option<i64>,
    pub inputs: Vec<String>,
    pub dependants: Vec<String>,
    /// The inboxes whose people the table's view leaves out.
    pub protected_by: Vec<String>,
    /// The tables that this inbox protects.
    pub protects: Vec<String>,
}

/// Returns `flip`'s answer with `configured` for each dataset, and `groups`. If the configuration can't be read,
/// `configuration_error` says why.
pub async fn overview(connected: &Connected) -> Result<Value> {
    let (answer, deployed) = futures::join!(connected.overview(), connected.deployed());
    let mut answer = answer?;
    let config = deployed.and_then(|deployed| deployed.config.map_err(anyhow::Error::msg));
    match config {
        Ok(config) => merge(&mut answer, &config, now()),
        Err(error) => {
            answer.as_object_mut().context("flip's answer is no object")?;
            answer["configuration_error"] = format!("{error:#}").into();
        }
    }
    Ok(answer)
}

fn merge(answer: &mut Value, config: &Config, now: Timestamp) {
    for dataset in answer["datasets"].as_array_mut().into_iter().flatten() {
        let configured = dataset["dataset"].as_str().and_then(|name| config.dataset(name).ok());
        if let Some(configured) = configured {
            dataset["configured"] = json!(of(config, configured, now));
        }
    }
    answer["groups"] = json!(groups(config));
}

/// Returns what the configuration says about a dataset.
pub fn of(config: &Config, dataset: &Dataset, now: Timestamp) -> Configured {
    let refresh = dataset.refresh.as_ref();
    let next = refresh.and_then(|refresh| refresh.next(now));
    let interval =
        refresh.zip(next).and_then(|(refresh, next)| Some(refresh.next(next)?.duration_since(next).as_secs()));
    let inputs = refresh.map(|refresh| refresh.inputs()).unwrap_or_default();
    let protected = dataset.protected.iter().flat_map(|protected| &protected.by);
    Configured {
        table: dataset.table.to_string(),
        source: kind(&dataset.source),
        group: dataset.group.as_ref().map(|group| group.name.clone()),
        refresh: graph::when(dataset),
        interval_seconds: interval,
        inputs: inputs.into_iter().map(|input| input.dataset.clone()).collect(),
        dependants: config.dependants(&dataset.name).map(|one| one.name.clone()).collect(),
        protected_by: protected.map(|by| by.optouts.dataset.clone()).collect(),
        protects: dataset.protects.iter().map(|protected| protected.dataset.clone()).collect(),
    }
}

fn groups(config: &Config) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for dataset in config.datasets() {
        if let Some(group) = &dataset.group {
            groups.entry(&group.name).or_default().push(&dataset.name);
        }
    }
    groups
}

fn kind(source: &Source) -> &'static str {
    match source {
        Source::Postgres(_) => "postgres",
        Source::Mysql(_) => "mysql",
        Source::Files(_) => "files",
        Source::Inbox(_) => "inbox",
        Source::Athena(_) => "athena",
        Source::GlueJob(_) => "glue_job",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dataset_has_its_interval_group_inputs_and_dependants() {
        let files = "source = { files = { location = \"s3://lake/in/\" } }\n";
        let database = "source = { postgres = { secret = \"dmp/shop\", query = \"SELECT 1\" } }\n";
        let text = format!(
            "[defaults]\ndatabase = \"d\"\nlocation = \"s3://lake/s\"\n\
             [datasets.orders]\n{files}refresh = \"rate(1 hour)\"\n\
             [datasets.prices]\n{database}group = \"shop\"\n\
             [datasets.stock]\n{database}group = \"shop\"\n\
             [datasets.sales]\n{files}refresh = {{ after = [\"orders\"] }}\n"
        );
        let config = Config::parse("f", &text).unwrap();
        let mut answer =
            json!({ "datasets": [{ "dataset": "orders" }, { "dataset": "sales" }, { "dataset": "gone" }] });
        merge(&mut answer, &config, "2026-11-21T02:10:00Z".parse().unwrap());
        assert_eq!(answer["groups"], json!({ "shop": ["prices", "stock"] }));
        let orders = &answer["datasets"][0]["configured"];
        assert_eq!((&orders["interval_seconds"], &orders["dependants"]), (&json!(3600), &json!(["sales"])));
        assert_eq!((&orders["source"], &orders["table"]), (&json!("files"), &json!("d.orders")));
        let sales = &answer["datasets"][1]["configured"];
        assert_eq!((&sales["refresh"], &sales["inputs"]), (&json!("after orders"), &json!(["orders"])));
        assert_eq!(sales["interval_seconds"], json!(null));
        assert_eq!(answer["datasets"][2], json!({ "dataset": "gone" }));
    }
}

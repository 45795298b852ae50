//! The data of one dataset's page: `flip`'s status, and the records of its generations.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    overview,
    records::Recorded,
    stack::{Connected, Deployed, now},
};

/// Returns JSON with `flip`'s answer about the dataset as `status`. Adds, from the bucket, `configured`, `records` and
/// `flips` or, if the bucket can't be read, the reason as `records_error`.
pub async fn dataset(connected: &Connected, name: &str) -> Result<Value> {
    let (status, deployed) = futures::join!(connected.status(name), connected.deployed());
    let status = status?;
    let mut answer = json!({ "at": now(), "status": status });
    match recorded(connected, name, &answer["status"], deployed).await {
        Ok(found) => {
            for (key, value) in found {
                answer[key] = value;
            }
        }
        Err(error) => answer["records_error"] = format!("{error:#}").into(),
    }
    Ok(answer)
}

async fn recorded(
    connected: &Connected,
    name: &str,
    status: &Value,
    deployed: Result<Deployed>,
) -> Result<[(&'static str, Value); 3]> {
    let config = deployed?.config.map_err(anyhow::Error::msg)?;
    let dataset = config.dataset(name)?;
    let known = status["generations"].as_array().into_iter().flatten();
    let names: Vec<String> = known.filter_map(|one| one["generation"].as_str().map(str::to_owned)).collect();
    let records = &connected.records;
    let (generations, flips) = futures::try_join!(records.generations(dataset, &names), records.flips(dataset))?;
    let generations: Vec<Recorded> = generations;
    Ok([
        ("configured", json!(overview::of(&config, dataset, now()))),
        ("records", json!(generations)),
        ("flips", json!(flips)),
    ])
}

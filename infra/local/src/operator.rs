//! What an operator sees and does when a day goes wrong: a candidate that the audit rejects, and a rollback.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::json;
use turntable::{config::Dataset, name::Generation};

use crate::{Stack, progress::say};

/// A complete generation that never went live.
#[derive(Debug, Clone, Serialize)]
pub struct Rejected {
    pub dataset: String,
    pub candidate: Generation,
    pub rows: u64,
    /// As `flip` told it.
    pub error: String,
}

/// One flip by hand.
#[derive(Debug, Clone, Serialize)]
pub struct Move {
    pub dataset: String,
    /// `rollback` or `flip`.
    pub action: &'static str,
    pub from: Generation,
    pub to: Generation,
    /// From the request to the answer.
    pub seconds: f64,
}

/// An order of magnitude above what an audit takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Exports a source that has gone bad, and waits until the manifest's event has had its candidate rejected.
pub async fn bad_export(stack: &Stack, dataset: &Dataset) -> Result<Rejected> {
    let since = jiff::Timestamp::now().as_millisecond();
    let exported = stack.invoke("export", &json!({ "dataset": dataset.name })).await??;
    let candidate = exported["generation"].as_str().context("export named no generation")?.parse()?;
    let rows = exported["rows"].as_u64().context("export counted no rows")?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let lines = stack.logs("flip", since).await?;
        let rejected = lines.iter().map(|line| &line["fields"]).find(|fields| fields["kind"] == "Rejected");
        if let Some(error) = rejected.and_then(|fields| fields["error"].as_str()) {
            say(format_args!("{} of {rows} rows is rejected", candidate));
            return Ok(Rejected { dataset: dataset.name.clone(), candidate, rows, error: error.to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("{candidate} was not rejected within {} s", PATIENCE.as_secs())
}

/// Back to the generation before live.
pub async fn rollback(stack: &Stack, dataset: &Dataset) -> Result<Move> {
    let request = json!({ "dataset": dataset.name, "action": "rollback", "reason": "cargo run -p local shows it" });
    ask(stack, dataset, "rollback", &request).await
}

/// To a named generation, which an event never makes live again once it has been.
pub async fn flip(stack: &Stack, dataset: &Dataset, to: Generation) -> Result<Move> {
    ask(stack, dataset, "flip", &json!({ "dataset": dataset.name, "generation": to })).await
}

async fn ask(stack: &Stack, dataset: &Dataset, action: &'static str, request: &serde_json::Value) -> Result<Move> {
    let start = Instant::now();
    let answer = stack.invoke("flip", request).await??;
    let seconds = start.elapsed().as_secs_f64();
    let generation = |field: &str| -> Result<Generation> {
        let named = answer[field].as_str().with_context(|| format!("{action} answered {answer}"))?;
        Ok(named.parse()?)
    };
    let (from, to) = (generation("previous")?, generation("live")?);
    say(format_args!("{action}: {from} → {to}"));
    Ok(Move { dataset: dataset.name.clone(), action, from, to, seconds })
}

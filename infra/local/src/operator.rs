//! A bad day: the audit rejects a candidate, and an operator rolls back and then flips forward again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use turntable::{config::Dataset, layout::Generation};

use crate::{
    outcome::{Move, Rejected},
    progress::say,
    stack::Stack,
};

/// How long to wait for the rejection of a candidate: ten times what an audit usually takes.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Exports a dataset whose source is broken, and waits until the audit rejects the candidate. The manifest's S3 event
/// triggers the `flip` that audits it.
pub async fn bad_export(stack: &Stack, dataset: &Dataset) -> Result<Rejected> {
    let since = jiff::Timestamp::now().as_millisecond();
    let exported = stack.invoke("export", &json!({ "dataset": dataset.name })).await??;
    let candidate = exported["generation"].as_str().context("export returned no generation")?.parse()?;
    let rows = exported["rows"].as_u64().context("export returned no number of rows")?;
    let start = Instant::now();
    while start.elapsed() < AUDIT_TIMEOUT {
        let lines = stack.logs("flip", since).await?;
        let rejected = lines.iter().map(|line| &line["fields"]).find(|fields| fields["kind"] == "Rejected");
        if let Some(error) = rejected.and_then(|fields| fields["error"].as_str()) {
            say(format_args!("{} of {rows} rows is rejected", candidate));
            return Ok(Rejected { dataset: dataset.name.clone(), candidate, rows, error: error.to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("{candidate} was not rejected within {} s", AUDIT_TIMEOUT.as_secs())
}

/// Rolls back to the previous generation.
pub async fn rollback(stack: &Stack, dataset: &Dataset) -> Result<Move> {
    let request = json!({ "dataset": dataset.name, "action": "rollback", "reason": "demonstration by turntable demo" });
    send(stack, dataset, "rollback", &request).await
}

/// Flips to a generation, even one that was live before: only an operator can make such a generation live again.
pub async fn flip(stack: &Stack, dataset: &Dataset, to: Generation) -> Result<Move> {
    send(stack, dataset, "flip", &json!({ "dataset": dataset.name, "generation": to })).await
}

async fn send(stack: &Stack, dataset: &Dataset, action: &'static str, request: &serde_json::Value) -> Result<Move> {
    let start = Instant::now();
    let answer = stack.invoke("flip", request).await??;
    let seconds = start.elapsed().as_secs_f64();
    let generation = |field: &str| -> Result<Generation> {
        let named = answer[field].as_str().with_context(|| format!("{action} returned {answer}"))?;
        Ok(named.parse()?)
    };
    let (from, to) = (generation("previous")?, generation("live")?);
    say(format_args!("{action}: {from} → {to}"));
    Ok(Move { dataset: dataset.name.clone(), action, from, to, seconds })
}

//! A person opts out: a drop arrives in the inbox, and the refresh that its event triggers removes the person from the
//! protected view.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client::athena;
use serde_json::Value;
use turntable::config::{Dataset, Source};

use crate::{
    day,
    outcome::{LiveGeneration, OptedOut},
    progress::say,
    reader::Reader,
    sample,
    stack::Stack,
};

/// How long to wait for a refresh to take effect: ten times what it usually takes with the emulator's schedule.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(60);

/// Puts the earlier opt-outs into the inbox, then one more person's. Returns what happened to that person's rows, and
/// the generation that is live afterwards.
pub async fn person_opts_out(stack: &Stack, dataset: &Dataset, reader: &Reader) -> Result<(OptedOut, LiveGeneration)> {
    let since = jiff::Timestamp::now().as_millisecond();
    let protected = &dataset.protects.first().context("the sample's opt-outs protect no table")?.table;
    let (view, table) = (format!("{protected}_protected"), &dataset.table);
    say("the application puts the opt-outs so far into the inbox");
    stack.put(&format!("{}/so-far.csv", sample::INBOX), sample::opted_out_so_far()).await?;
    let out = sample::OPTED_OUT;
    let count = async |sql: &str| count(stack, sql).await;
    // The view appears shortly after the table.
    until("the opt-outs so far in the table", async || {
        let rows = count(&format!("SELECT count(*) FROM {table}")).await.unwrap_or(0);
        Ok(rows == out && count(&format!("SELECT count(*) FROM {view}")).await.is_ok())
    })
    .await?;
    reader.add(table);

    let person = count(&format!("SELECT min(id) FROM {view}")).await?;
    let in_view = format!("SELECT count(*) FROM {view} WHERE id = {person}");
    let before = count(&in_view).await?;
    say(format_args!("user {person} is in {view}, and opts out"));
    stack.put(&format!("{}/{person}.csv", sample::INBOX), sample::opts_out(person)).await?;
    let put = Instant::now();
    until("the person's removal from the view", async || Ok(count(&in_view).await? == 0)).await?;
    let seconds = put.elapsed().as_secs_f64();
    let after = count(&in_view).await?;
    say(format_args!("user {person} is gone from the view after {seconds:.2} s"));
    let opted_out = OptedOut { dataset: dataset.name.clone(), view, before, after, seconds };
    Ok((opted_out, live(stack, dataset, since).await?))
}

/// Waits until the drops that the user has put into an inbox have created its table, and returns the live generation.
/// Returns `None` if the inbox is empty or the dataset has none.
pub async fn drops_of_the_user(stack: &Stack, dataset: &Dataset, reader: &Reader) -> Result<Option<LiveGeneration>> {
    let Source::Inbox(inbox) = &dataset.source else { return Ok(None) };
    let listed = stack.s3.list_objects_v2().bucket(&inbox.location.bucket).prefix(&inbox.location.prefix);
    if listed.send().await.context("cannot list the inbox")?.contents().is_empty() {
        return Ok(None);
    }
    until("the drops to be live", async || Ok(day::live(stack, &dataset.table).await?.is_some())).await?;
    reader.add(&dataset.table);
    live(stack, dataset, 0).await.map(Some)
}

/// Polls until `condition` is true. Fails after [`REFRESH_TIMEOUT`] with an error that names `what`.
async fn until(what: &str, condition: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !condition().await? {
        if start.elapsed() > REFRESH_TIMEOUT {
            bail!("timed out after {} s: still waiting for {what}", REFRESH_TIMEOUT.as_secs());
        }
    }
    Ok(())
}

async fn count(stack: &Stack, sql: &str) -> Result<u64> {
    let row = athena::first_row(&stack.athena, &format!("s3://{}/athena/", stack.scratch), sql).await?;
    row[0].as_deref().context("the count is null")?.parse().with_context(|| format!("{row:?} is not a number"))
}

/// Describes the live generation, with the durations that `optout` logged: the time until the flip, and the flip
/// itself.
async fn live(stack: &Stack, dataset: &Dataset, since: i64) -> Result<LiveGeneration> {
    let start = Instant::now();
    loop {
        let live = day::live(stack, &dataset.table).await?;
        let live = live
            .and_then(|live| dataset.paths.parse_generation(&live))
            .context("the table's location is not a managed generation")?;
        let manifest = day::manifest(stack, dataset, &live).await?;
        let lines = stack.logs("optout", since).await?;
        let line = lines.iter().map(|line| &line["fields"]).find(|fields| fields["generation"] == live.to_string());
        let seconds = |name: &str| line.and_then(|fields: &Value| fields[name].as_f64());
        // The emulator delivers the log line at the end of the invocation, shortly after the flip.
        if let (Some(all), Some(flip_s)) = (seconds("seconds"), seconds("flip")) {
            let dataset = dataset.name.clone();
            let (rows, bytes) = (manifest.rows, manifest.bytes);
            return Ok(LiveGeneration { dataset, generation: live, rows, bytes, export_s: all - flip_s, flip_s });
        }
        if start.elapsed() > REFRESH_TIMEOUT {
            bail!("optout did not log within {} s that {live} is live", REFRESH_TIMEOUT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

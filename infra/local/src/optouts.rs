//! Somebody opts out: a drop arrives in the inbox, and its event takes the person out of the extraction.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;
use turntable::config::{Dataset, Source};

use crate::{
    Stack, day,
    progress::say,
    reader::{Reader, query},
    report::Build,
    sample,
};

/// One person's way out of an extraction.
#[derive(Debug, Clone, Serialize)]
pub struct OptedOut {
    pub dataset: String,
    /// What the extraction reads.
    pub view: String,
    /// The person's rows in it before the drop, and after.
    pub before: u64,
    pub after: u64,
    /// From the end of the put to the end of the first query without the person.
    pub seconds: f64,
}

/// An order of magnitude above what a refresh takes, and the emulator's schedule.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts the people who are out so far into the inbox, then one more. Gives what is live in the end, too.
pub async fn somebody_leaves(stack: &Stack, dataset: &Dataset, reader: &Reader) -> Result<(OptedOut, Build)> {
    let since = jiff::Timestamp::now().as_millisecond();
    let protected = &dataset.protects.first().context("the sample's opt-outs protect nothing")?.table;
    let (view, table) = (format!("{protected}_protected"), &dataset.table);
    say("the application puts those who are out so far into the inbox");
    stack.put(&format!("{}/so-far.csv", sample::INBOX), sample::opted_out_so_far()).await?;
    let out = sample::OPTED_OUT;
    let count = async |sql: &str| count(stack, sql).await;
    // The view comes shortly after the table.
    until("those who are out so far to be in the table", async || {
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
    until("the person to be gone", async || Ok(count(&in_view).await? == 0)).await?;
    let seconds = put.elapsed().as_secs_f64();
    let after = count(&in_view).await?;
    say(format_args!("user {person} is gone from it after {seconds:.2} s"));
    let opted_out = OptedOut { dataset: dataset.name.clone(), view, before, after, seconds };
    Ok((opted_out, live(stack, dataset, since).await?))
}

/// Waits until the drops that the user has put into an inbox are live; nothing, where there are none.
pub async fn drops_of_the_user(stack: &Stack, dataset: &Dataset, reader: &Reader) -> Result<Option<Build>> {
    let Source::Inbox(inbox) = &dataset.source else { return Ok(None) };
    let listed = stack.s3.list_objects_v2().bucket(&inbox.location.bucket).prefix(&inbox.location.prefix);
    if listed.send().await.context("cannot list the inbox")?.contents().is_empty() {
        return Ok(None);
    }
    until("the drops to be live", async || Ok(day::live(stack, &dataset.table).await?.is_some())).await?;
    reader.add(&dataset.table);
    live(stack, dataset, 0).await.map(Some)
}

async fn until(what: &str, is_so: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_so().await? {
        if start.elapsed() > PATIENCE {
            bail!("waited in vain for {what}");
        }
    }
    Ok(())
}

async fn count(stack: &Stack, sql: &str) -> Result<u64> {
    let row = query(&stack.athena, &format!("s3://{}/athena/", stack.scratch), sql).await?;
    row[0].as_deref().context("no answer")?.parse().with_context(|| format!("{row:?} is no number"))
}

/// What is live, with the function's own measurements: until the flip, and the flip itself.
async fn live(stack: &Stack, dataset: &Dataset, since: i64) -> Result<Build> {
    let start = Instant::now();
    loop {
        let live = day::live(stack, &dataset.table).await?;
        let live = live.and_then(|live| dataset.home.parse_generation(&live)).context("the table is none of ours")?;
        let manifest = day::manifest(stack, dataset, &live).await?;
        let lines = stack.logs("optout", since).await?;
        let line = lines.iter().map(|line| &line["fields"]).find(|fields| fields["generation"] == live.to_string());
        let seconds = |name: &str| line.and_then(|fields: &Value| fields[name].as_f64());
        // The line comes with the end of the invocation, shortly after the flip.
        if let (Some(all), Some(flip_s)) = (seconds("seconds"), seconds("flip")) {
            let dataset = dataset.name.clone();
            let (rows, bytes) = (manifest.rows, manifest.bytes);
            return Ok(Build { dataset, generation: live, rows, bytes, export_s: all - flip_s, flip_s });
        }
        if start.elapsed() > PATIENCE {
            bail!("optout has not logged that {live} is live");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

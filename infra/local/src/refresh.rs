//! A file arrives: its event refreshes the dataset whose source it is. The record of that flip then refreshes the
//! dataset that is built from the first one.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use client::datasets::Datasets;
use turntable::{config::Dataset, layout::Generation, manifest::Manifest};

use crate::{
    day,
    outcome::{LiveGeneration, Refreshed},
    progress::say,
    reader::Reader,
    sample,
    stack::Stack,
};

/// How long to wait for a table: many times what it usually takes.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(120);

/// Puts the sample's campaigns, and waits for both tables. Returns how long they took, and their generations.
pub async fn put_and_follow(
    stack: &Stack,
    datasets: &Datasets,
    reader: &Reader,
) -> Result<(Refreshed, Vec<LiveGeneration>)> {
    let since = jiff::Timestamp::now().as_millisecond();
    let campaigns = datasets.config.dataset(sample::CAMPAIGNS)?;
    let follows = datasets.config.dataset(sample::CAMPAIGN_USERS)?;
    say(format_args!("a file arrives: s3://{}/{}", stack.bucket, sample::CAMPAIGNS_OBJECT));
    stack.put(sample::CAMPAIGNS_OBJECT, sample::campaigns()).await?;
    let put = Instant::now();
    let first = live(stack, campaigns).await?;
    let on_put_s = put.elapsed().as_secs_f64();
    say(format_args!("{} is live {on_put_s:.2} s after the put", campaigns.name));
    let second = live(stack, follows).await?;
    let after_s = put.elapsed().as_secs_f64() - on_put_s;
    say(format_args!("{}, which is built from it, is live after {after_s:.2} s more", follows.name));
    let mut builds = Vec::new();
    for (dataset, manifest) in [(campaigns, first), (follows, second)] {
        reader.add(&dataset.table);
        builds.push(day::build(stack, since, dataset, &manifest).await?);
    }
    Ok((Refreshed { on_put_s, after_s }, builds))
}

/// Waits until a table exists. Returns the manifest of its generation.
async fn live(stack: &Stack, dataset: &Dataset) -> Result<Manifest> {
    let start = Instant::now();
    loop {
        let location = day::live(stack, &dataset.table).await?;
        let generation: Option<Generation> = location.and_then(|location| dataset.paths.parse_generation(&location));
        if let Some(generation) = generation {
            return day::manifest(stack, dataset, &generation).await;
        }
        if start.elapsed() > REFRESH_TIMEOUT {
            bail!("timed out after {} s: still waiting for {}", REFRESH_TIMEOUT.as_secs(), dataset.table);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

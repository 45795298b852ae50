//! Everybody who changes something, each in a loop until the end.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    lake::{Lake, drop_key},
    oracle::PEOPLE,
};

/// Does it at this pace, or as fast as it goes where that is slower, until the end.
async fn each(lake: &Lake, pace: Duration, act: impl AsyncFn(u64) -> Result<()>) -> Result<()> {
    for turn in 1.. {
        let next = Instant::now() + pace;
        act(turn).await?;
        sleep_until(next).await;
        if lake.is_over() {
            break;
        }
    }
    Ok(())
}

/// A day a second. Most are flipped by their manifests' events alone.
pub async fn exports(lake: &Lake) -> Result<()> {
    each(lake, Duration::from_secs(1), async |day| lake.export(day).await).await
}

/// The schedule's way: a message for each dataset. Now and then it meets [`exports`]' own.
pub async fn all_exports(lake: &Lake) -> Result<()> {
    each(lake, Duration::from_secs(7), async |_| {
        lake.ask("export all", "export", &json!({})).await;
        Ok(())
    })
    .await
}

/// A drop every half second; its event alone brings the first in, beside the second somebody asks.
pub async fn opt_outs(lake: &Lake) -> Result<()> {
    each(lake, Duration::from_millis(500), async |_| {
        let person = lake.sent.load(Ordering::SeqCst) + 1;
        if person <= PEOPLE {
            lake.opt_out(person).await?;
        }
        if person.is_multiple_of(2) {
            lake.refresh().await;
        }
        Ok(())
    })
    .await
}

pub async fn rollbacks(lake: &Lake) -> Result<()> {
    each(lake, Duration::from_secs(5), async |_| {
        let request = json!({ "dataset": "users", "action": "rollback", "reason": "a soak" });
        if let Some(answer) = lake.ask("rollback", "flip", &request).await {
            lake.count("rolled back", u64::from(answer["outcome"] == "swapped"));
        }
        Ok(())
    })
    .await
}

pub async fn sweeps(lake: &Lake) -> Result<()> {
    each(lake, Duration::from_secs(2), async |_| {
        if let Some(answer) = lake.ask("sweep", "sweep", &json!({})).await {
            let of = |list: &str| answer[list].as_array().map_or(0, |items| items.len() as u64);
            lake.count("generations and orphans swept", of("deleted"));
            lake.count("inboxes archived", of("archived"));
        }
        Ok(())
    })
    .await
}

/// Events that come again, late and several at a time: of any manifest that there is, and of any drop that there was.
pub async fn duplicates(lake: &Lake) -> Result<()> {
    each(lake, Duration::from_millis(400), async |turn| {
        sleep(Duration::from_millis(lake.random(300))).await;
        let table = if turn.is_multiple_of(4) { "optouts" } else { "users" };
        let manifests = lake.keys(&format!("schemas/{table}/_manifests/")).await?;
        let manifest = manifests.get(lake.random(manifests.len() as u64) as usize);
        let drop = drop_key(1 + lake.random(lake.sent.load(Ordering::SeqCst)));
        let (late, again) = (created(lake, manifest.map_or("", String::as_str)), created(lake, &drop));
        let (flip, optout) = ("manifest's event again", "drop's event again");
        tokio::join!(lake.ask(flip, "flip", &late), lake.ask(flip, "flip", &late), lake.ask(optout, "optout", &again));
        Ok(())
    })
    .await
}

/// events/flip-s3.json, of another object.
fn created(lake: &Lake, key: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../events/flip-s3.json")).unwrap_or_default();
    event["detail"]["bucket"]["name"] = lake.stack.bucket.as_str().into();
    event["detail"]["object"]["key"] = key.into();
    event
}

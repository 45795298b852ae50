//! The writers: each changes something in a loop until the run ends.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    lake::{Lake, drop_key},
    oracle::PEOPLE,
};

/// Repeats `act` until the run ends: once per `pace`, or without a pause if `act` takes longer.
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

/// Exports a day every second. Most days go live only because of the events for their manifests.
pub async fn exports(lake: &Lake) -> Result<()> {
    each(lake, Duration::from_secs(1), async |day| lake.export(day).await).await
}

/// Exports as the schedule does, with one message per dataset. Sometimes runs at the same time as an export by
/// [`exports`].
pub async fn all_exports(lake: &Lake) -> Result<()> {
    each(lake, Duration::from_secs(7), async |_| {
        lake.ask("export all", "export", &json!({})).await;
        Ok(())
    })
    .await
}

/// Puts a drop every half second. Only every second drop is followed by a request for a refresh; the others rely on
/// their events.
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

/// Delivers events for random manifests and drops again, late and several at once.
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

/// Returns the event in events/flip-s3.json, changed to the object with this key in the stack's bucket.
fn created(lake: &Lake, key: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../events/flip-s3.json")).unwrap_or_default();
    event["detail"]["bucket"]["name"] = lake.stack.bucket.as_str().into();
    event["detail"]["object"]["key"] = key.into();
    event
}

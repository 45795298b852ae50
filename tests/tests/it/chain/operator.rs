//! An operator's request wins over a running export and over late duplicates of old events.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use turntable::{
    layout::{Generation, Key},
    record::{self, Flip, FlipOrigin},
};

use super::{Chain, USERS, generation, manifest_event, users};

/// How long after an export's start the operator acts, in milliseconds. An export takes a few hundred here.
const DELAYS: [u64; 4] = [0, 50, 120, 300];
/// The number of newest generations whose events are delivered again, late.
const LATE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_stands_against_a_running_export_and_late_events() {
    let chain = chain().await;
    let mut known = vec![export(&chain).await];
    let mut live = known[0];
    for delay in DELAYS {
        let before = next(&chain, &mut known, live).await;
        let (exported, back) = tokio::join!(export(&chain), later(delay, request(&chain, "rollback")));
        let to: Generation = back["live"].as_str().unwrap().parse().unwrap();
        assert_eq!(back["outcome"], "swapped", "{back}");
        known.push(exported);
        answered(&chain, &exported).await;

        // A rollback from before the export's snapshot doesn't keep the export from going live.
        let last = last_rollback(&chain).await;
        let as_of: Timestamp = manifest(&chain, &exported).await["as_of"].as_str().unwrap().parse().unwrap();
        let stands = last.at >= as_of && last.to == to;
        live = if stands { to } else { exported };
        for generation in youngest(&known).iter().filter(|generation| **generation != live) {
            let late = chain.ask("flip", &manifest_event(&chain.paths("users"), generation)).await;
            assert_eq!(late["outcome"], "stale", "{generation}: {late}");
        }
        println!("{delay} ms after the export's start: the rollback {}", if stands { "stands" } else { "came first" });
        let now = chain.live("users").await;
        assert_eq!(now, Some(chain.paths("users").generation(&live)), "{before} → {to}, {delay} ms: stands: {stands}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_stands_against_a_running_export_and_a_release_lets_only_the_fresher_go() {
    let chain = chain().await;
    let first = export(&chain).await;
    let mut known = vec![first];
    let mut live = next(&chain, &mut known, first).await;
    for delay in DELAYS {
        let (exported, held) = tokio::join!(export(&chain), later(delay, request(&chain, "hold")));
        assert_eq!(held["outcome"], "held", "{held}");
        // The answer names the generation that stays live.
        let under: Generation = held["live"].as_str().unwrap().parse().unwrap();
        assert!([live, exported].contains(&under));
        known.push(exported);
        answered(&chain, &exported).await;
        for generation in youngest(&known) {
            let late = chain.ask("flip", &manifest_event(&chain.paths("users"), generation)).await;
            let expected = if *generation == under { "already_live" } else { "held" };
            assert_eq!(late["outcome"], expected, "{generation}: {late}");
        }
        assert_eq!(chain.live("users").await, Some(chain.paths("users").generation(&under)), "{delay} ms");

        request(&chain, "release").await;
        // A held candidate may go live now, but no generation that was live before.
        for generation in youngest(&known) {
            let late = chain.ask("flip", &manifest_event(&chain.paths("users"), generation)).await;
            let expected = match *generation {
                is if is == under => "already_live",
                is if is == exported => "swapped",
                _ => "stale",
            };
            assert_eq!(late["outcome"], expected, "{generation}: {late}");
        }
        live = exported;
        assert_eq!(chain.live("users").await, Some(chain.paths("users").generation(&live)));
    }
}

async fn chain() -> Chain {
    let chain = Chain::start(USERS).await;
    chain.put("source/users/users.csv", users(50_000, 1)).await.unwrap();
    chain
}

async fn export(chain: &Chain) -> Generation {
    generation(&chain.ask("export", &json!({ "dataset": "users" })).await)
}

fn youngest(known: &[Generation]) -> &[Generation] {
    &known[known.len().saturating_sub(LATE)..]
}

/// Waits until `live` is live, exports another generation, and waits until that is live.
async fn next(chain: &Chain, known: &mut Vec<Generation>, live: Generation) -> Generation {
    let paths = chain.paths("users");
    chain.until("the first", async || chain.live("users").await.filter(|now| *now == paths.generation(&live))).await;
    let exported = export(chain).await;
    known.push(exported);
    chain.until("the next", async || chain.live("users").await.filter(|now| *now == paths.generation(&exported))).await;
    answered(chain, &exported).await;
    exported
}

/// Waits until `flip` has answered the event for this manifest.
async fn answered(chain: &Chain, generation: &Generation) {
    let speaks_of = |line: &Value| line["candidate"] == generation.to_string();
    let found = async || chain.lines("flip", "flip").await.into_iter().find(speaks_of);
    chain.until("the manifest's event", found).await;
}

async fn later<T>(milliseconds: u64, act: impl Future<Output = T>) -> T {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    act.await
}

async fn request(chain: &Chain, action: &str) -> Value {
    chain.ask("flip", &json!({ "dataset": "users", "action": action, "reason": "the operator's word" })).await
}

async fn manifest(chain: &Chain, generation: &Generation) -> Value {
    serde_json::from_slice(&chain.get(&chain.paths("users").manifest(generation).key).await.unwrap()).unwrap()
}

async fn last_rollback(chain: &Chain) -> Flip {
    let mut names = chain.keys(&chain.paths("users").flips().prefix).await;
    names.sort();
    let mut last = None;
    for name in names {
        let key = Key { bucket: chain.bucket.clone(), key: name };
        let flip: Flip = record::from_json(&key, &chain.get(&key.key).await.unwrap()).unwrap();
        last = if flip.by == FlipOrigin::Rollback { Some(flip) } else { last };
    }
    last.expect("a rollback")
}

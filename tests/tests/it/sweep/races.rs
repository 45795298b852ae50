//! A rollback or a late flip to a generation that is being swept, interleaved with the sweep at every point of both.

use std::sync::Arc;

use turntable::{config::Retain, decision::Live, layout::Generation};

use super::lake::{Lake, hours};
use crate::wire::Wire;

/// Creates a lake with a generation that sweep may delete. There are three kinds: it was live, it is an abandoned
/// candidate, or its export is about to write its manifest.
async fn lake(kind: Kind) -> (Lake, Generation) {
    let lake = Lake::new(Retain { generations: 0, drain: hours(1), abandoned: hours(1), max_age: hours(48) });
    let target = match kind {
        Kind::Replaced => lake.turn(2).await,
        Kind::Candidate => {
            lake.turn(1).await;
            lake.advance(hours(1));
            lake.export(2).await
        }
        Kind::Late => {
            lake.turn(1).await;
            lake.advance(hours(1));
            lake.data(2).await
        }
    };
    if matches!(kind, Kind::Replaced) {
        lake.turn(1).await;
    }
    lake.advance(hours(3));
    (lake, target)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Replaced,
    Candidate,
    Late,
}

/// Acts as an operator or an event that makes the target live. Any answer is right, as long as the live generation is
/// complete.
async fn bring_back(lake: &Lake, kind: Kind, target: Generation) {
    match kind {
        Kind::Replaced => drop(lake.rollback(target).await),
        Kind::Candidate => drop(lake.flip(target).await),
        Kind::Late => {
            lake.complete(target).await;
            drop(lake.flip(target).await);
        }
    }
}

/// Checks that the live generation is complete, and returns whether it is the target.
async fn ends_well(lake: &Lake, kind: Kind, target: Generation, at: usize, who: &str) -> bool {
    let Live::Managed(live) = lake.live().await else { panic!("nothing is live") };
    assert!(lake.is_whole(&live).await, "{kind:?}: {who} at call {at}: {live} is live and not whole");
    live == target
}

#[tokio::test]
async fn a_generation_that_returns_during_a_sweep_is_complete() {
    for kind in [Kind::Replaced, Kind::Candidate, Kind::Late] {
        let (mut came_back, mut stayed_away) = (0, 0);
        for at in 0.. {
            let (lake, target) = lake(kind).await;
            let lake = Arc::new(lake);
            let other = lake.clone();
            let (wire, env) = Wire::meeting(&lake.env, at, async move || bring_back(&other, kind, target).await);
            lake.sweep_with(&env, None, false).await;
            if wire.calls() <= at {
                break;
            }
            if ends_well(&lake, kind, target, at, "brought back").await { came_back += 1 } else { stayed_away += 1 }
        }
        assert!(came_back > 0 && stayed_away > 0, "{kind:?}: {came_back} came back, {stayed_away} did not");
    }
}

#[tokio::test]
async fn a_sweep_during_a_rollback_leaves_live_complete() {
    for kind in [Kind::Replaced, Kind::Candidate, Kind::Late] {
        let (mut came_back, mut stayed_away) = (0, 0);
        for at in 0.. {
            let (mut lake, target) = lake(kind).await;
            let plain = lake.env.clone();
            let other = Arc::new(lake.beside());
            let (wire, env) = Wire::meeting(&plain, at, async move || drop(other.sweep().await));
            lake.env = env;
            bring_back(&lake, kind, target).await;
            if wire.calls() <= at {
                break;
            }
            lake.env = plain;
            if ends_well(&lake, kind, target, at, "swept").await { came_back += 1 } else { stayed_away += 1 }
        }
        assert!(came_back > 0 && stayed_away > 0, "{kind:?}: {came_back} came back, {stayed_away} did not");
    }
}

//! Crashes, duplicates and concurrent requests: in the end, one run of all members is live, and the record names it.
//! `TURNTABLE_GROUP_SCHEDULES` says how many random schedules run (80).

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::random::count;
use turntable::manifest::GroupRun;

use super::lake::{Lake, changed, event, paths, some, table};
use crate::wire::Wire;

/// Creates a group with a live run and a fresher run that hasn't flipped.
async fn head() -> (Arc<Lake>, GroupRun, GroupRun) {
    let lake = Arc::new(Lake::new());
    let old = lake.flipped().await;
    let run = lake.run().await;
    (lake, old, run)
}

#[tokio::test]
async fn a_flip_that_died_anywhere_is_finished_by_its_event_or_by_the_next_run() {
    let mut midway = 0;
    for at in 0.. {
        let (lake, old, run) = head().await;
        let (wire, env) = Wire::dying(&lake.env(), at);
        drop(flip::handle(env, event(&run, "c")).await);
        let live = lake.live();
        midway += usize::from(live != some(&old) && live != some(&run));
        // At any moment, the record names the generations of one run.
        let named = lake.named().unwrap();
        assert!(named == old.members || live == some(&run), "died at call {at}: {named:?}, {live:?}");
        if at % 2 == 0 {
            lake.ask(event(&run, "c")).await.unwrap();
            lake.is_settled_at(&[&run], &format!("died at call {at}, and its event came again"));
        } else {
            let next = lake.run().await;
            lake.ask(event(&next, "c")).await.unwrap();
            lake.is_settled_at(&[&next], &format!("died at call {at}, and the next run came"));
        }
        if wire.calls() <= at {
            break;
        }
    }
    // Between the first table and the last, there are only `UpdateTable` calls.
    assert_eq!(midway, 2, "died between two flips");
}

#[tokio::test]
async fn a_way_back_that_died_anywhere_is_finished() {
    for at in 0.. {
        let (lake, old, run) = head().await;
        lake.rig.catalog.deny(Some(table("b")));
        drop(lake.ask(event(&run, "c")).await);
        lake.rig.catalog.deny(None);
        assert!(lake.record().flipping.unwrap().back.is_some());
        let (wire, env) = Wire::dying(&lake.env(), at);
        drop(flip::handle(env, event(&run, "c")).await);
        drop(lake.ask(event(&run, "c")).await);
        lake.is_settled_at(&[&old], &format!("died at call {at} on the way back"));
        if wire.calls() <= at {
            break;
        }
    }
}

/// What happens at the same time as the flip.
#[derive(Debug, Clone, Copy)]
enum Other {
    /// The same event is delivered again.
    Twice,
    /// A fresher run's event arrives.
    Fresher,
    Rollback,
    Hold,
    /// Updates to one table are denied, and the event is delivered again.
    Denied,
    /// A sweep runs so late that a candidate looks abandoned and replaced generations have drained.
    Sweep,
    /// Somebody outside moves a table back, and the drift is repaired.
    Repair,
}

const OTHERS: [Other; 7] =
    [Other::Twice, Other::Fresher, Other::Rollback, Other::Hold, Other::Denied, Other::Sweep, Other::Repair];

const SOON: &str = "on_drift = \"repair\"\nretain = { generations = 1, drain = \"1h\", abandoned = \"1h\" }\n";

#[tokio::test]
async fn any_concurrent_action_leaves_one_run_live() {
    for other in OTHERS {
        for at in 0.. {
            let when = format!("{other:?} before call {at}");
            let lake = Arc::new(Lake::with(SOON));
            let oldest = lake.flipped().await;
            let old = lake.flipped().await;
            let (run, fresher) = (lake.run().await, lake.run().await);
            let (beside, again, next) = (lake.clone(), event(&run, "c"), event(&fresher, "c"));
            let before = paths("b").generation(&oldest.members["b"]).to_string();
            let meanwhile = async move || match other {
                Other::Twice => drop(beside.ask(again).await),
                Other::Fresher => drop(beside.ask(next).await.unwrap()),
                Other::Rollback => drop(beside.action("rollback").await.unwrap()),
                Other::Hold => drop(beside.action("hold").await.unwrap()),
                Other::Denied => {
                    beside.rig.catalog.deny(Some(table("b")));
                    drop(beside.ask(again).await);
                    beside.rig.catalog.deny(None);
                }
                Other::Sweep => {
                    beside.rig.advance(SignedDuration::from_hours(48));
                    beside.sweep().await;
                }
                Other::Repair => {
                    beside.moved("b", &before);
                    drop(beside.ask(changed("b")).await);
                }
            };
            let (wire, env) = Wire::meeting(&lake.env(), at, meanwhile);
            let answer = flip::handle(env, event(&run, "c")).await;
            if wire.calls() <= at {
                break;
            }
            drop(lake.ask(event(&run, "c")).await);
            if matches!(other, Other::Repair) {
                // A table that drifted midway is left alone until an operator requests the run that the other tables
                // are on.
                let named = lake.named().unwrap()["b"];
                lake.ask(json!({ "dataset": "b", "action": "rollback", "generation": named })).await.unwrap();
            }
            let live = lake.is_settled_at(&[&oldest, &old, &run, &fresher], &when);
            match other {
                Other::Twice => assert_eq!(live, run, "{when}: {answer:?}"),
                Other::Fresher => assert_eq!(live, fresher, "{when}: {answer:?}"),
                // The rollback went back from whichever run was live at that moment, and no earlier event undoes it.
                Other::Rollback => assert!(live == oldest || live == old, "{when}: {answer:?}"),
                _ => assert!(live == old || live == run, "{when}: {answer:?}"),
            }
            for (name, generation) in &live.members {
                assert!(lake.rig.objects.keys().contains(&paths(name).manifest(generation).to_string()), "{when}");
            }
        }
    }
}

/// The run that finishes an unfinished flip first reads the record. Then another run takes the flip back, and only
/// after that does the first run read the table.
#[tokio::test]
async fn an_unfinished_flip_is_not_continued_while_it_is_taken_back() {
    let mut back = 0;
    for at in 0.. {
        let (lake, old, run) = head().await;
        lake.dies_midway(&run).await;
        let (beside, again) = (lake.clone(), event(&run, "c"));
        let meanwhile = async move || {
            beside.rig.catalog.deny(Some(table("b")));
            drop(beside.ask(again.clone()).await);
            beside.rig.catalog.deny(None);
            drop(beside.ask(again).await);
        };
        let (wire, env) = Wire::meeting(&lake.env(), at, meanwhile);
        let answer = flip::handle(env, event(&run, "c")).await;
        if wire.calls() <= at {
            break;
        }
        drop(lake.ask(event(&run, "c")).await);
        let live = lake.is_settled_at(&[&old, &run], &format!("taken back before call {at}: {answer:?}"));
        back += usize::from(live == old);
    }
    assert!(back > 0, "no concurrent rollback came in time");
}

/// One table drifts. It is left alone or flipped with the others, and the others always belong to one run.
#[tokio::test]
async fn drift_of_one_table_leaves_the_others_together() {
    for at in 0.. {
        let (lake, old, run) = head().await;
        let beside = lake.clone();
        let (wire, env) = Wire::meeting(&lake.env(), at, async move || beside.moved("b", "s3://lake/elsewhere"));
        drop(flip::handle(env, event(&run, "c")).await);
        if wire.calls() <= at {
            break;
        }
        drop(lake.ask(event(&run, "c")).await);
        let (live, named) = (lake.live(), lake.named().unwrap());
        assert_eq!(lake.record().flipping, None, "moved before call {at}");
        assert!(named == old.members || named == run.members, "moved before call {at}");
        assert!(lake.once_live_together().contains(&named), "moved before call {at}: never live together: {named:?}");
        for other in ["a", "c"] {
            assert_eq!(live[other], Some(named[other]), "moved before call {at}: {live:?}");
        }
    }
}

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Returns how many schedules to run.
fn schedules() -> u64 {
    count("TURNTABLE_GROUP_SCHEDULES", 80)
}

/// Duplicate events about several runs, an operator, and a table whose updates are denied for a while, all
/// concurrently. Some of the processes die.
#[tokio::test]
async fn random_schedules_end_with_one_run_live() {
    let (mut died, mut back, mut rolled) = (0, 0, 0);
    for seed in 0..schedules() {
        let numbers = &mut Numbers(seed);
        let lake = Lake::new();
        let mut runs = vec![lake.flipped().await, lake.flipped().await];
        for round in 0..3 {
            let mut requests: Vec<Value> = Vec::new();
            for _ in 0..1 + numbers.below(2) {
                runs.push(lake.run().await);
                requests.extend([event(runs.last().unwrap(), "c"), event(runs.last().unwrap(), "c")]);
            }
            let any = &runs[numbers.below(runs.len() as u64) as usize];
            match numbers.below(4) {
                0 => requests.push(json!({ "dataset": "a", "action": "rollback" })),
                1 => requests.push(json!({ "dataset": "b", "generation": any.members["b"] })),
                2 => requests.push(event(any, "c")),
                _ => {}
            }
            let denied = numbers.below(4) == 0;
            lake.rig.catalog.deny(denied.then(|| table("b")));
            let run = requests.into_iter().map(|request| {
                let dies = (numbers.below(3) == 0).then(|| numbers.below(80) as usize);
                died += usize::from(dies.is_some());
                let env = Wire::turning(&lake.env(), numbers.below(1 << 31) << 32, dies);
                flip::handle(env, request)
            });
            futures::future::join_all(run.collect::<Vec<_>>()).await;
            lake.rig.catalog.deny(None);
            let when = format!("seed {seed}, round {round}");
            let named = lake.named().unwrap();
            assert!(lake.once_live_together().contains(&named), "{when}: never live together: {named:?}");
        }
        let last = lake.run().await;
        if seed % 2 == 0 {
            drop(lake.ask(event(&runs[runs.len() - 1], "c")).await);
        } else {
            lake.ask(event(&last, "c")).await.unwrap();
            runs.push(last);
        }
        let all: Vec<&GroupRun> = runs.iter().collect();
        let live = lake.is_settled_at(&all, &format!("seed {seed}, in the end"));
        assert!(seed % 2 == 0 || Some(&live) == runs.last(), "seed {seed}");
        for (name, generation) in &live.members {
            assert!(lake.rig.objects.keys().contains(&paths(name).manifest(generation).to_string()));
        }
        back += usize::from(lake.record().went_back.is_some());
        let flips = lake.rig.flips();
        rolled += flips.iter().filter(|flip| flip.by == turntable::record::FlipOrigin::Rollback).count();
    }
    assert!(died > 0 && back > 0 && rolled > 0, "{died} died, {back} went back, {rolled} rolled back");
}

//! Random histories: sweep never deletes what is live, kept, draining or unknown, and in the end it deletes everything
//! else. If it is killed at any call and invoked again, it ends as if it had not been killed.
//! `TURNTABLE_SWEEP_HISTORIES` says how many histories run (2,000).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tests::random::{Random, count, named};
use turntable::{
    config::Retain,
    decision::Live,
    layout::{Generation, time_of},
    port::{Entry, Objects},
    publish::Outcome,
};

use super::lake::{Lake, hours, minutes};
use crate::wire::Wire;

/// The true history, which only the test knows.
#[derive(Default)]
struct Truth {
    /// How many data files each generation has.
    files: BTreeMap<Generation, usize>,
    /// When each generation was completed.
    complete: BTreeMap<Generation, Timestamp>,
    /// When each generation was last replaced.
    replaced: BTreeMap<Generation, Timestamp>,
    was_live: BTreeSet<Generation>,
    live: Option<Generation>,
    unknown: BTreeSet<String>,
    /// Whether a flip record was lost, so that some generations are kept for longer.
    lost: bool,
}

/// How often each event occurred. A good set of histories meets each of them at least once.
#[derive(Default, Debug)]
struct Met {
    deleted: usize,
    killed: usize,
    rollbacks: usize,
    lost: usize,
    skipped: usize,
    by_max_age: usize,
    queries: usize,
}

const UNKNOWN: [&str; 9] = [
    "notes.txt",
    "blue/part-00000.parquet",
    "green/part-00000.parquet",
    "_manifests/README.md",
    "_manifests/blue-01.json",
    "_flips/old/01JDA00000000000000000000A.json",
    "green-01jda00000000000000000000a/part-00000.parquet",
    "_sweeping/me",
    "backup/blue-01JDA00000000000000000000A/part-00000.parquet",
];

async fn history(seed: u64, met: &mut Met) {
    let mut random = Random::new(seed);
    let retain = Retain {
        generations: random.below(4),
        drain: minutes(random.pick(&[0, 30, 60, 300]).unwrap()),
        abandoned: hours(random.pick(&[1, 24]).unwrap()),
        max_age: hours(random.pick(&[24, 100]).unwrap()),
    };
    let lake = Lake::new(retain);
    let mut truth = Truth::default();
    lake.objects.put("s3://lake/schemas/users2/green-01JDA00000000000000000000A/part-00000.parquet", "x");
    lake.objects.put("s3://lake/schemas/users", "x");
    for _ in 0..8 + random.below(20) {
        lake.advance(SignedDuration::from_secs(1 + (1 << random.below(18)) as i64 + random.below(60) as i64));
        match random.below(20) {
            0..6 => {
                let generation = export(&lake, &mut truth, random.below(3) as usize + 1).await;
                if random.below(4) > 0 {
                    flip(&lake, &mut truth, generation, random.below(12) == 0, met).await;
                }
            }
            6 | 7 => {
                // An export dies in the middle of an upload.
                let generation = lake.data(random.below(3) as usize).await;
                truth.files.insert(generation, lake.files(&generation).await);
                let at = lake.dataset.paths.generation(&generation).key("part-00009.parquet");
                lake.objects.begin_upload(&at.to_string(), lake.now());
            }
            8 | 9 => {
                let complete: Vec<Generation> = truth.complete.keys().copied().collect();
                if let Some(generation) = random.pick(&complete) {
                    flip(&lake, &mut truth, generation, random.below(12) == 0, met).await;
                }
            }
            10 | 11 => {
                let once: Vec<Generation> = truth.was_live.iter().copied().collect();
                if let Some(generation) = random.pick(&once)
                    && matches!(lake.rollback(generation).await, Ok(Outcome::Committed))
                {
                    met.rollbacks += 1;
                    note_live(&lake, &mut truth).await;
                    lose_record(&lake, &mut truth, random.below(12) == 0, met).await;
                }
            }
            12 => {
                let at = format!("s3://lake/schemas/users/{}", random.pick(&UNKNOWN).unwrap());
                lake.objects.put(&at, "unknown");
                truth.unknown.insert(at);
            }
            _ => sweep(&lake, &truth, &mut random, met).await,
        }
    }
    lake.advance(hours(25));
    sweep(&lake, &truth, &mut random, met).await;
}

async fn export(lake: &Lake, truth: &mut Truth, files: usize) -> Generation {
    let generation = lake.export(files).await;
    truth.files.insert(generation, files);
    truth.complete.insert(generation, lake.now());
    generation
}

async fn flip(lake: &Lake, truth: &mut Truth, generation: Generation, lose: bool, met: &mut Met) {
    let _ = lake.flip(generation).await;
    if note_live(lake, truth).await {
        lose_record(lake, truth, lose, met).await;
    }
}

/// Deletes the last flip's record if `lose` is set, as if the flip had died before writing it.
async fn lose_record(lake: &Lake, truth: &mut Truth, lose: bool, met: &mut Met) {
    if lose {
        let records = lake.objects.list(&lake.dataset.paths.flips(), None).await.unwrap();
        let ours = |entry: &&Entry| lake.dataset.paths.parse_flip(&entry.key).is_some();
        lake.objects.delete(&records.iter().rfind(ours).unwrap().key.to_string());
        truth.lost = true;
        met.lost += 1;
    }
}

async fn note_live(lake: &Lake, truth: &mut Truth) -> bool {
    let live = lake.live().await.generation();
    let changed = live != truth.live;
    if let (true, Some(before)) = (changed, truth.live) {
        truth.replaced.insert(before, lake.now());
    }
    truth.was_live.extend(live);
    truth.live = live;
    changed
}

async fn sweep(lake: &Lake, truth: &Truth, random: &mut Random, met: &mut Met) {
    let query = (random.below(3) == 0).then(|| {
        met.queries += 1;
        lake.now() - minutes(random.below(400) as i64)
    });
    let before = lake.objects.keys();
    let mut complete = BTreeSet::new();
    for (generation, files) in &truth.files {
        if lake.files(generation).await == *files {
            complete.insert(*generation);
        }
    }
    let whole = lake.fork();
    let (wire, env) = Wire::dying(&whole.env, usize::MAX);
    let swept = whole.sweep_with(&env, query, false).await;
    met.skipped += swept.skipped.len();
    met.by_max_age += swept.deleted.iter().filter(|item| item.reason.starts_with("max_age")).count();
    assert!(swept.skipped.iter().all(|skipped| skipped.error.is_none()), "{swept:?}");
    met.deleted += before.len() - whole.objects.keys().len().min(before.len());

    if random.below(2) == 0 {
        let at = random.below(wire.calls() as u64) as usize;
        let (_, env) = Wire::dying(&lake.env, at);
        lake.sweep_with(&env, query, false).await;
        safe(lake, truth, query, &complete).await;
        met.killed += 1;
    }
    lake.sweep_with(&lake.env, query, false).await;
    assert_eq!(lake.objects.keys(), whole.objects.keys(), "killed and run again");
    assert_eq!(lake.objects.unfinished(), whole.objects.unfinished(), "killed and run again");
    safe(lake, truth, query, &complete).await;
    if swept.skipped.is_empty() && !truth.lost {
        done(lake, truth, query).await;
    }
}

/// Checks that nothing live, kept, draining, being read or unknown was deleted, and that complete generations are still
/// complete.
async fn safe(lake: &Lake, truth: &Truth, query: Option<Timestamp>, before: &BTreeSet<Generation>) {
    let (now, retain) = (lake.now(), lake.dataset.retain);
    let keys: BTreeSet<String> = lake.objects.keys().into_iter().collect();
    assert!(truth.unknown.is_subset(&keys), "an unknown object was deleted");
    assert!(keys.contains("s3://lake/schemas/users") && keys.contains("s3://lake/datasets.toml"));
    assert!(keys.iter().any(|key| key.starts_with("s3://lake/schemas/users2/")));
    assert_eq!(lake.live().await, truth.live.map_or(Live::NoTable, Live::Managed));
    if let Some(live) = truth.live {
        assert!(lake.is_whole(&live).await, "live {live} is not whole");
    }
    for (generation, files) in truth.files.iter().filter(|(generation, _)| truth.live != Some(**generation)) {
        let there = lake.files(generation).await == *files;
        if let Some(replaced) = truth.replaced.get(generation) {
            assert!(there || now >= *replaced + retain.drain, "{generation}, replaced at {replaced}, was drained");
            let read = before.contains(generation) && query.is_some_and(|query| query <= *replaced);
            assert!(there || !read, "{generation}, replaced at {replaced}, is read by a query of {query:?}");
        } else {
            let since = truth.complete.get(generation).copied().unwrap_or(time_of(generation.ulid));
            assert!(there || now >= since + retain.abandoned, "{generation} of {since} was abandoned");
        }
    }
    if !truth.lost {
        for generation in kept_for_rollback(lake, truth).intersection(before) {
            assert!(lake.is_whole(generation).await, "{generation} is to be kept for a rollback");
        }
    }
}

/// Returns the generations that `generations` and `max_age` keep for a rollback.
fn kept_for_rollback(lake: &Lake, truth: &Truth) -> BTreeSet<Generation> {
    let (now, retain) = (lake.now(), lake.dataset.retain);
    let replaced = truth.replaced.iter().filter(|(generation, _)| truth.live != Some(**generation));
    let mut newest: Vec<(Timestamp, Generation)> = replaced.map(|(generation, at)| (*at, *generation)).collect();
    newest.sort_unstable_by(|one, other| other.cmp(one));
    newest.truncate(retain.generations as usize);
    newest.retain(|(at, _)| now < *at + retain.max_age);
    newest.into_iter().map(|(_, generation)| generation).collect()
}

/// Checks that everything that sweep may delete was deleted.
async fn done(lake: &Lake, truth: &Truth, query: Option<Timestamp>) {
    let (now, retain) = (lake.now(), lake.dataset.retain);
    let kept = kept_for_rollback(lake, truth);
    let mut left = 0;
    for generation in truth.files.keys().filter(|generation| truth.live != Some(**generation)) {
        let there = lake.files(generation).await > 0;
        match truth.replaced.get(generation) {
            Some(replaced) => {
                let read = query.is_some_and(|query| query <= *replaced) || now < *replaced + retain.drain;
                assert!(!there || read || now < *replaced + retain.max_age, "{generation} is older than max_age");
                left += usize::from(there && !read && !kept.contains(generation));
            }
            None if truth.live.is_some() => {
                let since = truth.complete.get(generation).copied().unwrap_or(time_of(generation.ulid));
                assert!(!there || now < since + retain.abandoned, "{generation} of {since} was abandoned");
            }
            None => {}
        }
    }
    assert!(left <= retain.generations as usize, "{left} more than those kept for a rollback are left");
}

/// Returns how many histories to run.
fn histories() -> u64 {
    count("TURNTABLE_SWEEP_HISTORIES", 2000)
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_is_left_over() {
    let mut met = Met::default();
    for seed in 0..histories() {
        named(seed, history(seed, &mut met)).await;
    }
    eprintln!("{met:?}");
    let Met { deleted, killed, rollbacks, lost, skipped, by_max_age, queries } = met;
    for times in [deleted, killed, rollbacks, lost, skipped, by_max_age, queries] {
        assert!(times > 50, "these histories meet too little");
    }
}

#[tokio::test]
async fn killed_at_every_single_call() {
    let retain = Retain { generations: 1, drain: minutes(10), abandoned: hours(1), max_age: hours(48) };
    let lake = Lake::new(retain);
    for files in [3, 1, 2, 4, 1] {
        lake.turn(files).await;
    }
    lake.export(2).await;
    lake.data(3).await;
    lake.advance(hours(2));
    let whole = lake.fork();
    let (wire, env) = Wire::dying(&whole.env, usize::MAX);
    assert_eq!(whole.sweep_with(&env, None, false).await.deleted.len(), 5);
    for at in 0..wire.calls() {
        let lake = lake.fork();
        let (_, env) = Wire::dying(&lake.env, at);
        lake.sweep_with(&env, None, false).await;
        lake.sweep().await;
        assert_eq!(lake.objects.keys(), whole.objects.keys(), "killed at call {at}");
    }
}

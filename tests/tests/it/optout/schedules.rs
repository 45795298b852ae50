//! Random schedules, each from its seed: crashes at every call, two concurrent refreshes, lost replies, late and
//! duplicate events, sweeps in between, drops that arrive during a refresh, and drops put back from the archive. The
//! last run always ends where one clean run does, and nobody who had opted out comes back. `TURNTABLE_OPTOUT_SCHEDULES`
//! is the number of schedules (1,500).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use aws_sdk_glue::types::Table;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{
    catalog::{Fault, Op},
    optouts::{Lake, Out, Wire},
    random::{Random, count},
};

type Words = BTreeMap<i64, (i64, Out)>;

/// Returns a random drop, and applies it to the expected table.
fn drop(numbers: &mut Random, table: &mut Words) -> String {
    let mut text = String::from("user_id,state,occurred_at\n");
    for _ in 0..numbers.below(6) + 1 {
        let (id, second) = (numbers.below(12) as i64, numbers.below(5) as i64);
        let state = Out::ALL[numbers.below(3) as usize];
        text += &format!("{id},{},2026-01-01T00:00:0{second}Z\n", state.as_str());
        let word = (1_767_225_600 + second, state);
        table.entry(id).and_modify(|known| *known = word.max(*known)).or_insert(word);
    }
    text
}

fn is(lake: &Lake, table: &Words) {
    let found = lake.table().into_iter().map(|(id, state, second)| (id, (second, state))).collect::<Words>();
    assert_eq!(found, *table);
}

/// Checks each state of the live table against the state before it: every person's record is still there, or a later
/// one.
#[derive(Default)]
struct NeverBack {
    known: Words,
    /// How many states have been checked.
    seen: usize,
}

impl NeverBack {
    /// Checks the states since the last check, which sweep must not have deleted yet.
    fn loaded(&mut self, lake: &Lake) {
        let writes = lake.catalog.writes();
        for (_, table) in writes[self.seen..].iter().filter(|(name, _)| *name == lake.table_name()) {
            self.state(lake, table);
        }
        self.seen = writes.len();
    }

    fn state(&mut self, lake: &Lake, table: &Table) {
        let Some(location) = table.storage_descriptor().and_then(|storage| storage.location()) else { return };
        let generation = lake.paths().parse_generation(&location.parse().unwrap()).unwrap();
        let now: Words = lake.rows(&generation).into_iter().map(|(id, state, at)| (id, (at, state))).collect();
        for (id, word) in &self.known {
            assert!(now.get(id).is_some_and(|now| now >= word), "{id} was {word:?} and is {:?}", now.get(id));
        }
        self.known = now;
    }
}

fn queue(bodies: usize) -> Value {
    let event: Value = serde_json::from_str(include_str!("../../../../events/optout-sqs.json")).unwrap();
    let record = &event["Records"][0];
    let records = (0..bodies).map(|id| {
        let mut record = record.clone();
        record["messageId"] = format!("m{id}").into();
        record
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// What happens while a call is under way.
type Meanwhile = Arc<dyn Fn() + Send + Sync>;

/// Returns a flag that says whether the drop has been put, and the action that puts it once.
fn arrival(lake: &Lake, name: &str, text: String) -> (Arc<AtomicBool>, Meanwhile) {
    let (put, objects) = (Arc::new(AtomicBool::new(false)), lake.objects.clone());
    let (done, key) = (put.clone(), format!("s3://lake/inbox/optouts/{name}"));
    let act = move || {
        if !done.swap(true, Ordering::Relaxed) {
            objects.put(&key, text.clone());
        }
    };
    (put, Arc::new(act))
}

/// Returns how many schedules to run.
fn schedules() -> u64 {
    count("TURNTABLE_OPTOUT_SCHEDULES", 1500)
}

#[tokio::test]
async fn a_crash_at_every_call_loses_nothing() {
    for effect in [false, true] {
        for at in 1.. {
            let lake = Lake::with("buckets = 4");
            let (mut numbers, mut table) = (Random::new(at as u64), Words::new());
            lake.drop("a.csv", drop(&mut numbers, &mut table));
            lake.refresh().await.unwrap();
            lake.drop("b.csv", drop(&mut numbers, &mut table) + "x,,\n");
            lake.drop("c.csv", drop(&mut numbers, &mut table));
            let died = lake.refresh_on(Wire { dies: Some((at, effect)), ..Wire::default() }).await;
            for generation in lake.manifests() {
                let _ = lake.deliver(&generation).await;
            }
            lake.refresh().await.unwrap();
            is(&lake, &table);
            NeverBack::default().loaded(&lake);
            assert_eq!(lake.objects.keys().iter().filter(|key| key.contains("_rejected/")).count(), 1);
            if died.is_ok() && at > 25 {
                assert!(at < 60, "a refresh has fewer calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_drop_that_arrives_at_any_call_of_a_refresh_is_merged_by_it_or_the_next_one() {
    for at in 1.. {
        let lake = Lake::with("buckets = 4");
        let (mut numbers, mut table) = (Random::new(at as u64), Words::new());
        lake.drop("a.csv", drop(&mut numbers, &mut table));
        lake.refresh().await.unwrap();
        lake.drop("b.csv", drop(&mut numbers, &mut table));
        let (put, arrives) = arrival(&lake, "c.csv", drop(&mut numbers, &mut table));
        let wire = Wire { meanwhile: Some((at, arrives)), ..Wire::default() };
        lake.refresh_on(wire.clone()).await.unwrap();
        if !put.load(Ordering::Relaxed) {
            assert!(at == wire.calls() + 1 && at > 10, "{at} of {} calls", wire.calls());
            break;
        }
        lake.refresh().await.unwrap();
        is(&lake, &table);
        NeverBack::default().loaded(&lake);
    }
}

#[tokio::test]
async fn random_schedules_end_with_the_table_of_one_clean_run() {
    let (mut met, mut lost, mut archived) = (0, 0, 0);
    for seed in 0..schedules() {
        let mut never_back = NeverBack::default();
        let lake = Lake::with(&format!("buckets = {}", 1 << (seed % 3)));
        let (mut numbers, mut table) = (Random::new(seed), Words::new());
        let turns = Arc::new(AtomicU64::new(seed));
        for step in 0..numbers.below(4) + 1 {
            for number in 0..numbers.below(3) {
                lake.drop(&format!("{step}-{number}.csv"), drop(&mut numbers, &mut table));
            }
            let call = lake.catalog.calls(Op::Update) + 1;
            match numbers.below(6) {
                0 => lake.catalog.on(Op::Update, call, Fault::LoseReply),
                1 => lake.catalog.on(Op::Update, call, Fault::Echo),
                2 => lake.catalog.on(Op::Update, call, Fault::Overtake),
                3 => lake.catalog.on(Op::Update, call, Fault::Fail),
                _ => {}
            }
            never_back.loaded(&lake);
            lake.advance(SignedDuration::from_mins(20 * numbers.below(6) as i64));
            let wire = |dies: Option<(usize, bool)>| Wire { dies, turns: Some(turns.clone()), ..Wire::default() };
            let (_, arrives) = arrival(&lake, &format!("{step}-during.csv"), drop(&mut numbers, &mut table));
            let during = (numbers.below(20) as usize + 1, arrives.clone());
            let run = |dies, messages, meanwhile| lake.handle(Wire { meanwhile, ..wire(dies) }, queue(messages));
            let mut dies = || (numbers.below(3) == 0).then(|| (numbers.below(25) as usize + 1, numbers.below(2) == 0));
            let (one, two, sweeps, put_back) = (dies(), dies(), dies(), dies().is_some());
            let late = lake.manifests();
            let events = async {
                for generation in late.iter().filter(|generation| (generation.ulid.0 ^ u128::from(seed)) % 2 == 0) {
                    let _ = lake.deliver(generation).await;
                }
            };
            let flips = lake.catalog.calls(Op::Update);
            let (one, two, _, ()) =
                tokio::join!(run(one, 2, Some(during)), run(two, 1, None), lake.sweep_on(wire(sweeps), false), events);
            // Puts the drop now if the refresh made too few calls to do that.
            arrives();
            let in_archive =
                lake.objects.keys().into_iter().filter(|key| key.contains("/_archive/")).collect::<Vec<_>>();
            archived += in_archive.len();
            if put_back && let Some(key) = in_archive.first() {
                let name = key.rsplit('/').next().unwrap();
                lake.drop(&format!("again-{step}-{name}"), lake.get(key).unwrap());
            }
            lost += u64::from(one.is_err()) + u64::from(two.is_err());
            met += u64::from(lake.catalog.calls(Op::Update) > flips + 1);
        }
        // Retries, because a fault may still be pending.
        while lake.refresh().await.is_err() {}
        is(&lake, &table);
        never_back.loaded(&lake);
        for generation in lake.manifests() {
            let _ = lake.deliver(&generation).await;
        }
        is(&lake, &table);
    }
    assert!(met > schedules() / 10 && lost > 0, "the schedules meet too little: {met} met, {lost} lost");
    assert!(archived > schedules() as usize / 4, "{archived} drops archived in all the schedules");
}

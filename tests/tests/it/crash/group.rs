//! Disturbs a group's flip once, at each of its calls, in every possible way; then repeats the request. The other tests
//! of groups are in `tests/tests/it/group`.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use tests::wire::{Call, Fate, Op, Wire, wired};
use tokio::{sync::Notify, task::yield_now};
use turntable::manifest::GroupRun;

use super::every::fates;
use crate::group::lake::{Lake, MEMBERS, event, some, table};

/// A lake, a request, and the runs that may be live afterwards.
type Prepared = (Lake, Value, Vec<GroupRun>);

type Prepare = fn() -> LocalBoxFuture<'static, Prepared>;

const ALL: &[(&str, Prepare)] = &[
    ("first flip of a group", || Box::pin(first_flip())),
    ("flip of a group", || Box::pin(flip())),
    ("flip of a group that is reverted", || Box::pin(goes_back())),
    ("interrupted flip of a group", || Box::pin(midway())),
    ("rollback of a group", || Box::pin(rollback())),
    ("hold of a group", || Box::pin(hold())),
];

async fn first_flip() -> Prepared {
    let lake = Lake::new();
    let run = lake.run().await;
    (lake, event(&run, "c"), vec![run])
}

async fn flip() -> Prepared {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let run = lake.run().await;
    (lake, event(&run, "c"), vec![old, run])
}

async fn goes_back() -> Prepared {
    let (lake, request, runs) = flip().await;
    lake.rig.catalog.deny(Some(table("b")));
    (lake, request, runs)
}

/// Prepares the lake that a process leaves behind if it dies after moving the first of the group's tables.
async fn midway() -> Prepared {
    let (lake, request, runs) = flip().await;
    let calls = disturbed(&lake, &request, None).await.1;
    let second = calls.iter().position(|call| call.op == Op::Update).unwrap() + 1;
    let left = disturbed(&lake, &request, Some((second, Fate::NeverLeaves))).await.0;
    assert!(left.record().flipping.is_some());
    (left, request, runs)
}

async fn rollback() -> Prepared {
    let lake = Lake::new();
    let runs = vec![lake.flipped().await, lake.flipped().await];
    let request = json!({ "dataset": "b", "action": "rollback", "generation": runs[0].members["b"] });
    (lake, request, runs)
}

async fn hold() -> Prepared {
    let lake = Lake::new();
    let run = lake.flipped().await;
    (lake, json!({ "dataset": "b", "action": "hold", "reason": "we look at it" }), vec![run])
}

/// The wire of one process, with the process's fault.
#[derive(Default)]
struct Process {
    calls: Mutex<Vec<Call>>,
    fault: Option<(usize, Fate)>,
    dead: AtomicBool,
    dies: Notify,
}

#[async_trait]
impl Wire for Process {
    async fn fate(&self, call: Call) -> Fate {
        if self.dead.load(Ordering::Relaxed) {
            return Fate::NeverLeaves;
        }
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call);
            calls.len() - 1
        };
        let fate = self.fault.filter(|(at, _)| *at == number).map_or(Fate::Arrives, |(_, fate)| fate);
        if matches!(fate, Fate::NeverLeaves | Fate::LastOfAll) {
            self.dead.store(true, Ordering::Relaxed);
            self.dies.notify_one();
        }
        fate
    }
}

/// Runs the request with a fault on a copy of the lake. Returns the copy and the calls.
async fn disturbed(lake: &Lake, request: &Value, fault: Option<(usize, Fate)>) -> (Lake, Vec<Call>) {
    let lake = Lake { rig: lake.rig.fork(), more: lake.more.clone() };
    let process = Arc::new(Process { fault, ..Process::default() });
    let death = async {
        process.dies.notified().await;
        // Calls that the process has sent still arrive.
        for _ in 0..64 {
            yield_now().await;
        }
    };
    tokio::select! {
        _ = flip::handle(wired(&lake.env(), process.clone()), request.clone()) => {}
        () = death => {}
    }
    let calls = process.calls.lock().unwrap().clone();
    (lake, calls)
}

/// Repeats the request, and delivers all runs' events. Checks that afterwards one run of all members is live and on
/// record, and returns that run.
async fn settled(lake: &Lake, request: &Value, runs: &[GroupRun], when: &str) -> GroupRun {
    let named = lake.rig.objects.body("s3://lake/schemas/_groups/core.json").and_then(|_| lake.named());
    let is_a_run = named.as_ref().is_none_or(|named| runs.iter().any(|run| run.members == *named));
    assert!(is_a_run, "{when}: readers of the record have a mixture: {named:?}");
    drop(lake.ask(request.clone()).await);
    // While updates are denied, the flip isn't over, because a late attempt might still move the table.
    lake.rig.catalog.deny(None);
    drop(lake.ask(request.clone()).await);
    for run in runs {
        for member in MEMBERS {
            drop(lake.ask(event(run, member)).await);
        }
    }
    assert_eq!(lake.record().flipping, None, "{when}");
    let live = lake.live();
    let run = runs.iter().find(|run| some(run) == live);
    let run = run.unwrap_or_else(|| panic!("{when}: a mixture: {live:?} of {runs:#?}"));
    assert_eq!(lake.named().as_ref(), Some(&run.members), "{when}");
    let flips = lake.rig.flips();
    for (dataset, generation) in &run.members {
        let mut changed: Value = serde_json::from_str(include_str!("../../../../events/flip-glue.json")).unwrap();
        changed["detail"]["tableName"] = json!(dataset);
        let told = lake.ask(changed).await.unwrap().reasons;
        assert!(told.is_empty(), "{when}: drift was reported without drift: {told:?}");
        // A flip back that died without its record has written an intent before, so the next flip writes the record.
        let last = flips.iter().rfind(|flip| flip.dataset == *dataset).map(|flip| flip.to);
        let announced = lake.rig.objects.keys().iter().any(|key| key.contains(&format!("/{dataset}/_returns/")));
        assert!(last == Some(*generation) || announced, "{when}: the last flip on record is to {last:?}");
    }
    run.clone()
}

#[tokio::test]
async fn a_group_with_a_fault_at_any_call_ends_like_one_without() {
    let mut all = 0;
    for (name, prepare) in ALL {
        let (lake, request, runs) = prepare().await;
        let (clean, calls) = disturbed(&lake, &request, None).await;
        let end = settled(&clean, &request, &runs, name).await;
        let held = clean.record().hold.is_some();
        let mut schedules = 1;
        for (at, call) in calls.iter().enumerate() {
            for fate in fates(call) {
                let when = format!("{name}: {fate:?} at call {at}, {call}");
                let (lake, _) = disturbed(&lake, &request, Some((at, *fate))).await;
                assert_eq!(settled(&lake, &request, &runs, &when).await, end, "{when}");
                assert_eq!(lake.record().hold.is_some(), held, "{when}");
                schedules += 1;
            }
        }
        let effects = calls.iter().filter(|call| call.op.is_effect()).count();
        eprintln!("| {name} | {} | {effects} | {schedules} |", calls.len());
        all += schedules;
    }
    eprintln!("{all} schedules of groups");
    assert!(all > 500, "{all} schedules meet too little");
}

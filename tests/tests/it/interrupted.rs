//! Drift: somebody outside Turntable has moved the table. `flip` detects the drift, and repairs it if the dataset says
//! so. Nothing that Turntable does is ever mistaken for drift, wherever it is interrupted, overtaken or killed.
//! `TURNTABLE_DRIFT_SCHEDULES` is the number of schedules in each of the two random tests (400).

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{
    query,
    random::{Random, count},
    rig::Rig,
};
use turntable::{
    answer::Flipped,
    aws::glue,
    environment::Environment,
    layout::Generation,
    publish::Outcome,
    record::{Flip, FlipOrigin},
};

use crate::wire::Wire;

/// Returns Glue's event about a changed table: events/flip-glue.json.
fn changed() -> Value {
    serde_json::from_str(include_str!("../../../events/flip-glue.json")).unwrap()
}

const REPAIR: &str = "on_drift = \"repair\"\n";
const REPORT: &str = "";

/// Makes two generations live, one after the other.
async fn flipped(more: &str) -> (Arc<Rig>, Generation, Generation) {
    let rig = Arc::new(Rig::with(more));
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.deliver(&green).await.unwrap();
    (rig, blue, green)
}

/// Moves the table as Terraform and the console do: sends no `VersionId` and writes no record.
fn moved(rig: &Rig, to: &str) {
    let mut table = rig.catalog.get(&rig.table).unwrap();
    table.storage_descriptor.as_mut().unwrap().location = Some(to.into());
    rig.catalog.put("dmp", glue::unchanged(&table));
}

fn back_to(rig: &Rig, generation: &Generation) {
    moved(rig, &rig.paths.generation(generation).to_string());
}

fn is_told(answer: &Flipped) -> bool {
    answer.reasons.iter().any(|reason| reason.contains(": drift: the table is "))
}

fn repairs(flips: &[Flip]) -> usize {
    flips.iter().filter(|flip| flip.by == FlipOrigin::Repair).count()
}

#[tokio::test]
async fn drift_of_any_kind_is_reported_and_left_alone() {
    let (rig, blue, green) = flipped(REPORT).await;
    assert!(!is_told(&rig.ask(changed()).await.unwrap()));
    for location in [rig.paths.generation(&blue).to_string(), "s3://lake/elsewhere".into()] {
        moved(&rig, &location);
        let told = rig.ask(changed()).await.unwrap();
        assert!(is_told(&told) && told.reasons[0].contains(&green.to_string()), "{:?}", told.reasons);
        let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap();
        assert_eq!(status.status.unwrap().drift.as_ref(), told.reasons.first());
        assert_eq!((rig.live() == Some(green), repairs(&rig.flips())), (false, 0));
    }
}

#[tokio::test]
async fn a_repair_is_a_flip_like_any_other() {
    let (rig, blue, green) = flipped(REPAIR).await;
    for location in [rig.paths.generation(&blue).to_string(), "s3://lake/elsewhere".into()] {
        moved(&rig, &location);
        let repaired = rig.ask(changed()).await.unwrap();
        assert_eq!((repaired.outcome, rig.live()), (Outcome::Committed, Some(green)));
        let last = rig.flips().pop().unwrap();
        assert_eq!(
            (last.by, last.to, last.from.unwrap().to_string()),
            (FlipOrigin::Repair, green, location.trim_end_matches('/').to_owned() + "/")
        );
        assert!(!is_told(&rig.ask(changed()).await.unwrap()));
    }
    // An operator's request overrides the configuration.
    back_to(&rig, &blue);
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "terraform apply" })).await.unwrap();
    assert_eq!((rig.ask(changed()).await.unwrap().outcome, rig.live()), (Outcome::Held, Some(blue)));
    rig.ask(json!({ "dataset": "users", "action": "release" })).await.unwrap();
    // A damaged generation doesn't go live again.
    rig.objects.delete(&rig.paths.generation(&green).key("part-00000.parquet").to_string());
    let rejected = rig.ask(changed()).await.unwrap();
    let is_missing = rejected.reasons.iter().any(|reason| reason.contains("part-00000.parquet is missing"));
    assert!(rejected.outcome == Outcome::Rejected && is_missing, "{:?}", rejected.reasons);
    assert_eq!(rig.live(), Some(blue));
}

#[tokio::test]
async fn an_unmanaged_table_is_ignored() {
    let (rig, ..) = flipped(REPAIR).await;
    let mut event = changed();
    event["detail"]["tableName"] = "orders".into();
    let answer = rig.ask(event).await.unwrap();
    assert_eq!((answer.outcome, answer.live), (Outcome::Status, None));
}

/// What Turntable itself may do to the table.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// A fresh candidate's event arrives.
    Event,
    Rollback,
    /// A rollback to a named generation that was live after the one that is live now.
    Forward,
    /// A fresh candidate whose canary fails.
    Canary,
    /// An adopted table's first candidate, whose canary fails: the flip back has no record.
    Adoption,
}

const DEEDS: [Deed; 5] = [Deed::Event, Deed::Rollback, Deed::Forward, Deed::Canary, Deed::Adoption];

/// Prepares a dataset for the action, and returns the request for the action.
async fn before(deed: Deed, more: &str) -> (Arc<Rig>, Value) {
    let canary = format!("{more}checks = {{ canary = \"SELECT count(*) > 0 FROM {{table}}\" }}\n");
    if let Deed::Adoption = deed {
        let rig = Arc::new(Rig::with(more));
        rig.deliver(&rig.export().await).await.unwrap();
        moved(&rig, "s3://lake/schemas/users/blue");
        rig.objects.keys().iter().filter(|key| key.contains("/_")).for_each(|key| rig.objects.delete(key));
        rig.configure("id = \"bigint\", name = \"string\"", &canary);
        rig.athena.answers(|_| Ok(query::one("false")));
        let request = rig.event(&rig.export().await);
        return (rig, request);
    }
    let (rig, _, green) = flipped(if matches!(deed, Deed::Canary) { &canary } else { more }).await;
    let rollback = json!({ "dataset": "users", "action": "rollback" });
    let request = match deed {
        Deed::Event => rig.event(&rig.export().await),
        Deed::Rollback => rollback,
        Deed::Forward => {
            rig.ask(rollback).await.unwrap();
            json!({ "dataset": "users", "action": "rollback", "generation": green })
        }
        Deed::Canary => {
            let next = rig.export().await;
            rig.athena.answers(|_| Ok(query::one("false")));
            rig.event(&next)
        }
        Deed::Adoption => unreachable!("it has returned"),
    };
    (rig, request)
}

async fn watch(env: Environment) -> Option<Flipped> {
    flip::handle(env, changed()).await.ok()
}

/// Checks that no drift was reported or repaired.
async fn is_quiet(rig: &Rig, told: &[Flipped], when: &str) {
    assert!(told.iter().all(|answer| !is_told(answer)), "{when}: {told:?}");
    assert_eq!(repairs(&rig.flips()), 0, "{when}");
}

#[tokio::test]
async fn an_own_flip_at_any_point_of_drift_detection_is_no_drift() {
    for (more, deed) in [REPORT, REPAIR].into_iter().flat_map(|more| DEEDS.map(|deed| (more, deed))) {
        for at in 0.. {
            let (rig, request) = before(deed, more).await;
            let other = rig.clone();
            let meanwhile = async move || drop(other.ask(request).await);
            let (wire, env) = Wire::meeting(&rig.env(), at, meanwhile);
            let told = watch(env).await;
            if wire.calls() <= at {
                assert!(at > 3, "a look has more calls");
                break;
            }
            is_quiet(&rig, &[told.unwrap()], &format!("{more}{deed:?} at call {at}")).await;
        }
    }
}

#[tokio::test]
async fn drift_detection_at_any_point_of_an_own_flip_sees_no_drift() {
    for (more, deed) in [REPORT, REPAIR].into_iter().flat_map(|more| DEEDS.map(|deed| (more, deed))) {
        for at in 0.. {
            let (rig, request) = before(deed, more).await;
            let (other, told) = (rig.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
            let heard = told.clone();
            let meanwhile = async move || {
                let seen = watch(other.env()).await;
                heard.lock().unwrap().extend(seen);
            };
            let (wire, env) = Wire::meeting(&rig.env(), at, meanwhile);
            drop(flip::handle(env, request).await);
            let told = std::mem::take(&mut *told.lock().unwrap());
            is_quiet(&rig, &told, &format!("{more}{deed:?}, looked at before call {at}")).await;
            if wire.calls() <= at {
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_own_flip_that_died_anywhere_is_no_drift() {
    for (more, deed) in [REPORT, REPAIR].into_iter().flat_map(|more| DEEDS.map(|deed| (more, deed))) {
        for at in 0.. {
            let (rig, request) = before(deed, more).await;
            let (wire, env) = Wire::dying(&rig.env(), at);
            drop(flip::handle(env, request).await);
            let live = rig.live();
            let told: Vec<_> = watch(rig.env()).await.into_iter().collect();
            is_quiet(&rig, &told, &format!("{more}{deed:?} died at call {at}")).await;
            assert_eq!(rig.live(), live);
            if wire.calls() <= at {
                break;
            }
        }
    }
}

/// Returns how many schedules to run.
fn schedules() -> u64 {
    count("TURNTABLE_DRIFT_SCHEDULES", 400)
}

/// Runs Turntable's actions and drift detection concurrently, three times in a row. Some of the runs die.
#[tokio::test]
async fn random_own_actions_are_never_taken_for_drift() {
    let (mut died, mut came_back) = (0, 0);
    for seed in 0..schedules() {
        let numbers = &mut Random::new(seed);
        let (rig, blue, green) = flipped(if seed % 2 == 0 { REPAIR } else { REPORT }).await;
        let mut known = vec![blue, green];
        for _ in 0..3 {
            let mut requests = vec![changed(), changed()];
            for _ in 0..numbers.below(3) {
                known.push(rig.export().await);
                requests.push(rig.event(known.last().unwrap()));
            }
            let any = |numbers: &mut Random| known[numbers.below(known.len() as u64) as usize];
            for _ in 0..1 + numbers.below(3) {
                let generation = any(numbers);
                requests.push(match numbers.below(4) {
                    0 => rig.event(&generation),
                    1 => json!({ "dataset": "users", "action": "rollback" }),
                    2 => json!({ "dataset": "users", "action": "rollback", "generation": generation }),
                    _ => json!({ "dataset": "users", "generation": generation }),
                });
            }
            let run = requests.into_iter().map(|request| {
                let dies = (numbers.below(3) == 0).then(|| numbers.below(25) as usize);
                let env = Wire::turning(&rig.env(), numbers.below(1 << 31) << 32, dies);
                died += usize::from(dies.is_some());
                flip::handle(env, request)
            });
            let answers = futures::future::join_all(run).await;
            let told: Vec<_> = answers.into_iter().flatten().collect();
            is_quiet(&rig, &told, &format!("seed {seed}")).await;
        }
        let told = rig.ask(changed()).await.unwrap();
        is_quiet(&rig, &[told], &format!("seed {seed}, in the end")).await;
        came_back += rig.flips().iter().filter(|flip| flip.by == FlipOrigin::Rollback).count();
    }
    assert!(died > 0 && came_back > 0, "{died} died, {came_back} came back");
}

/// In the end, drift is repaired, whatever Turntable does at the same time.
#[tokio::test]
async fn drift_among_own_flips_is_repaired_in_the_end() {
    let mut repaired = 0;
    for seed in 0..schedules() {
        let numbers = &mut Random::new(seed);
        let (rig, blue, _) = flipped(REPAIR).await;
        let fresh = rig.export().await;
        back_to(&rig, &blue);
        let requests = [changed(), changed(), rig.event(&fresh)];
        let run = requests.into_iter().take(2 + numbers.below(2) as usize).map(|request| {
            let dies = (numbers.below(3) == 0).then(|| numbers.below(25) as usize);
            flip::handle(Wire::turning(&rig.env(), numbers.below(1 << 31) << 32, dies), request)
        });
        drop(futures::future::join_all(run).await);
        rig.ask(changed()).await.unwrap();
        assert!(!is_told(&rig.ask(changed()).await.unwrap()), "seed {seed}");
        assert_ne!(rig.live(), Some(blue), "seed {seed}");
        repaired += repairs(&rig.flips());
    }
    assert!(repaired > 0);
}

#[tokio::test]
async fn a_rollback_that_lost_and_died_does_not_hide_the_winner() {
    let mut bad = Vec::new();
    for at in 0..20 {
        for dies in at..20 {
            let (rig, blue, green) = flipped(REPAIR).await;
            let third = rig.export().await;
            rig.deliver(&third).await.unwrap();
            let other = rig.clone();
            let meanwhile = async move || {
                let lost = tests::disturbed::Disturbed::default().refuse("_flips/").on(&other.objects);
                let env = other.env_on(other.catalog.port(), lost);
                drop(flip::handle(env, json!({ "dataset": "users", "action": "rollback", "generation": green })).await);
            };
            let (_, env) = Wire::meeting_and_dying(&rig.env(), at, dies, meanwhile);
            let died = flip::handle(env, json!({ "dataset": "users", "action": "rollback", "generation": blue })).await;
            if died.is_ok() || rig.live() != Some(green) {
                continue;
            }
            let told = watch(rig.env()).await;
            if rig.live() != Some(green) {
                bad.push((at, dies, told.map(|told| told.reasons)));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

//! Drift: somebody outside Turntable moves the table. `flip` detects the drift, and repairs it if the dataset says so.
//! A repair never undoes a flip by Turntable.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{disturbed::Disturbed, random::Random, rig::Rig};
use turntable::{answer::Flipped, layout::Generation, publish::Outcome, record::FlipOrigin};

const REPAIR: &str = "on_drift = \"repair\"\n";

/// Delivers Glue's event, which follows every change to the table, whoever makes it.
async fn changed(rig: &Rig) -> Flipped {
    let event: Value = serde_json::from_str(include_str!("../../../events/flip-glue.json")).unwrap();
    rig.ask(event).await.unwrap()
}

/// Moves the table as Terraform does with an outdated state: sends every field, but no version.
fn moved(rig: &Rig, location: &str) {
    let table = rig.catalog.get(&rig.table).unwrap();
    rig.catalog.put("dmp", tests::catalog::moved(&table, &location.parse().unwrap()));
}

/// Makes two generations live, one after the other.
async fn two(rig: &Rig) -> (Generation, Generation) {
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.deliver(&green).await.unwrap();
    (blue, green)
}

#[tokio::test]
async fn turntables_own_flips_are_no_drift() {
    let rig = Rig::with(REPAIR);
    let (blue, green) = two(&rig).await;
    assert_eq!(changed(&rig).await.reasons, [""; 0]);
    rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    for _ in 0..2 {
        let seen = changed(&rig).await;
        assert_eq!((seen.outcome, seen.live, seen.reasons.len()), (Outcome::Status, Some(blue.to_string()), 0));
    }
    assert_eq!((rig.live(), rig.records()), (Some(blue), 3));
    rig.flip(&green).await.unwrap();
    assert_eq!((changed(&rig).await.reasons.len(), rig.live()), (0, Some(green)));
}

#[tokio::test]
async fn drift_is_reported_and_repaired_only_if_the_dataset_says_so() {
    let rig = Rig::with("");
    let (blue, green) = two(&rig).await;
    moved(&rig, &rig.paths.generation(&blue).to_string());
    let told = format!(
        "dmp.users: drift: the table is at {}, but its last recorded flip went to {green}: something outside Turntable \
         changed it",
        rig.paths.generation(&blue)
    );
    let seen = changed(&rig).await;
    assert_eq!((seen.outcome, seen.reasons, rig.live()), (Outcome::Status, vec![told.clone()], Some(blue)));
    let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap();
    assert_eq!((status.reasons, status.status.unwrap().drift), (vec![told.clone()], Some(told)));
}

#[tokio::test]
async fn a_repair_goes_back_and_is_on_record() {
    for elsewhere in [false, true] {
        let rig = Rig::with(REPAIR);
        let (blue, green) = two(&rig).await;
        let to = if elsewhere { "s3://lake/old/users/".into() } else { rig.paths.generation(&blue).to_string() };
        moved(&rig, &to);
        let seen = changed(&rig).await;
        assert_eq!((seen.outcome, rig.live()), (Outcome::Committed, Some(green)), "{:?}", seen.reasons);
        let last = rig.flips().pop().unwrap();
        assert_eq!((last.by, last.to, last.from.unwrap().to_string()), (FlipOrigin::Repair, green, to));
        assert_eq!((changed(&rig).await.reasons.len(), rig.records()), (0, 3), "once");
        // The next export continues from the repaired table.
        let next = rig.export().await;
        assert_eq!(rig.deliver(&next).await.unwrap().outcome, Outcome::Committed);
        assert_eq!(changed(&rig).await.reasons.len(), 0);
    }
}

#[tokio::test]
async fn a_hold_stops_a_repair_and_a_damaged_generation_is_not_brought_back() {
    let rig = Rig::with(REPAIR);
    let (blue, green) = two(&rig).await;
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "we are looking" })).await.unwrap();
    moved(&rig, &rig.paths.generation(&blue).to_string());
    let seen = changed(&rig).await;
    assert_eq!((seen.outcome, rig.live()), (Outcome::Held, Some(blue)), "{:?}", seen.reasons);
    rig.ask(json!({ "dataset": "users", "action": "release" })).await.unwrap();

    let data = rig.paths.generation(&green).key("part-00000.parquet");
    rig.objects.put(&data.to_string(), "damaged");
    let event: Value = serde_json::from_str(include_str!("../../../events/flip-glue.json")).unwrap();
    assert_eq!(rig.ask(event).await.unwrap().outcome, Outcome::Rejected);
    assert_eq!(rig.live(), Some(blue));
}

#[tokio::test]
async fn a_rollback_whose_record_was_lost_is_not_repaired_and_comes_on_record() {
    let rig = Rig::with(REPAIR);
    let (blue, _) = two(&rig).await;
    let lost = Disturbed::default().refuse("_flips/").on(&rig.objects);
    let back = flip::handle(
        rig.env_on(rig.catalog.port(), lost),
        json!({ "dataset": "users", "action": "rollback", "reason": "prices" }),
    );
    assert_eq!(back.await.unwrap_err().kind(), turntable::error::Kind::Conflict);
    assert_eq!((rig.live(), rig.records()), (Some(blue), 2));
    assert_eq!((changed(&rig).await.reasons.len(), rig.live()), (0, Some(blue)));

    // A running export doesn't undo the rollback either, and the next flip first writes the rollback's record.
    let next = rig.export().await;
    assert_eq!(rig.deliver(&next).await.unwrap().outcome, Outcome::Committed);
    let flips = rig.flips();
    let (by, why) = (flips[2].by, flips[2].why.as_deref());
    assert_eq!((flips.len(), flips[2].to, by, why), (4, blue, FlipOrigin::Rollback, Some("prices")));
}

#[tokio::test]
async fn an_operator_can_accept_drift() {
    for request in [json!({ "action": "rollback" }), json!({})] {
        let rig = Rig::with(REPAIR);
        let (blue, green) = two(&rig).await;
        moved(&rig, &rig.paths.generation(&blue).to_string());
        let mut request = request;
        (request["dataset"], request["generation"]) = (json!("users"), json!(blue));
        assert_eq!(rig.ask(request).await.unwrap().outcome, Outcome::AlreadyLive);
        assert_eq!((changed(&rig).await.reasons.len(), rig.live()), (0, Some(blue)), "{green}");
    }
}

/// Runs exports, late events, rollbacks and drift detection concurrently, without drift. Nothing is ever repaired, and
/// in the end the last flip's generation is live.
#[tokio::test]
async fn a_repair_never_undoes_turntables_own_flip() {
    for seed in 0..400 {
        let mut numbers = Random::new(seed);
        let rig = Arc::new(Rig::with(REPAIR));
        let (blue, green) = two(&rig).await;
        let mut known = vec![blue, green];
        for _ in 0..4 {
            let mut tasks = tokio::task::JoinSet::new();
            let lost = numbers.below(4) == 0;
            for _ in 0..3 {
                let request = match numbers.below(4) {
                    0 => json!({ "dataset": "users", "action": "rollback" }),
                    1 => json!({ "dataset": "users", "generation": known[numbers.below(known.len() as u64) as usize] }),
                    2 => {
                        known.push(rig.export().await);
                        rig.event(known.last().unwrap())
                    }
                    _ => rig.event(&known[numbers.below(known.len() as u64) as usize]),
                };
                let objects = Disturbed::default();
                let objects = if lost { objects.refuse("_flips/") } else { objects };
                let env = rig.env_on(rig.catalog.port(), objects.on(&rig.objects));
                // Any answer is right: the candidate may be rejected or stale, or the flip may lose a race.
                tasks.spawn(async move { drop(flip::handle(env, request).await) });
                let env = rig.env();
                let event: Value = serde_json::from_str(include_str!("../../../events/flip-glue.json")).unwrap();
                tasks.spawn(async move { drop(flip::handle(env, event).await) });
            }
            while tasks.join_next().await.is_some() {}
            let repaired = rig.flips().into_iter().find(|flip| flip.by == FlipOrigin::Repair);
            assert_eq!(repaired, None, "seed {seed}");
        }
    }
}

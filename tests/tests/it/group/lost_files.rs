//! Files of one member's live generation are lost: the whole group goes back to the newest complete run.

use serde_json::json;
use sweep::{Limits, Sweep};
use turntable::{environment::Environment, manifest::GroupRun, publish::Outcome, record::FlipOrigin};

use super::lake::{Lake, event, paths, some};

const REPAIR: &str = "on_drift = \"repair\"\nretain = { generations = 3 }\n";

fn lose(lake: &Lake, name: &str, run: &GroupRun) {
    let file = paths(name).generation(&run.members[name]).key("part-00000.parquet").to_string();
    assert!(lake.rig.objects.body(&file).is_some());
    lake.rig.objects.delete(&file);
}

async fn sweep_on(lake: &Lake, env: Environment) -> Vec<String> {
    let sweep = Sweep { env, queue: lake.rig.queue.clone(), limits: Limits::default() };
    sweep::handle(sweep, json!({})).await.map(|swept| swept.notes).unwrap_or_default()
}

async fn notes(lake: &Lake) -> String {
    sweep_on(lake, lake.env()).await.join("\n")
}

#[tokio::test]
async fn group_goes_back_to_the_newest_complete_run() {
    let lake = Lake::with(REPAIR);
    let (first, second, third) = (lake.flipped().await, lake.flipped().await, lake.flipped().await);
    // The run before lacks a file too, of another member.
    lose(&lake, "c", &second);
    lose(&lake, "b", &third);
    let told = notes(&lake).await;
    assert!(told.contains("dmp.b") && told.contains("repaired"), "{told}");
    lake.is_settled_at(&[&first], "after the sweep");
    let live = lake.record().live.unwrap();
    assert_eq!((live.by, live.run), (FlipOrigin::Repair, first.run));
    assert!(live.why.unwrap().contains("part-00000.parquet"));
    notes(&lake).await;
    assert_eq!(lake.ask(event(&third, "c")).await.unwrap().outcome, Outcome::Stale, "it was live before");
    lake.is_settled_at(&[&first], "after a late event");
    let fourth = lake.flipped().await;
    lake.is_settled_at(&[&fourth], "the next run");
}

#[tokio::test]
async fn nothing_comes_back_that_a_rollback_has_taken_back_or_a_hold_forbids() {
    let lake = Lake::with(REPAIR);
    let (first, second) = (lake.flipped().await, lake.flipped().await);
    lake.action("rollback").await.unwrap();
    lose(&lake, "a", &first);
    let told = notes(&lake).await;
    assert!(told.contains("no complete run of group core"), "{told}");
    assert_eq!(lake.live(), some(&first));

    let lake = Lake::with(REPAIR);
    let (first, _) = (lake.flipped().await, lake.flipped().await);
    lake.action("hold").await.unwrap();
    let third = lake.live();
    lose(&lake, "a", &lake_run(&lake));
    let told = notes(&lake).await;
    assert!(told.contains("the operator's word"), "{told}");
    assert_eq!(lake.live(), third);
    lake.action("release").await.unwrap();
    notes(&lake).await;
    lake.is_settled_at(&[&first], "after the release");
    assert!(!second.members.is_empty());

    // Without `on_drift = "repair"`, it is only reported.
    let lake = Lake::new();
    let (_, second) = (lake.flipped().await, lake.flipped().await);
    lose(&lake, "a", &second);
    notes(&lake).await;
    assert_eq!(lake.live(), some(&second));
}

/// Returns the run that the group's record names as live.
fn lake_run(lake: &Lake) -> GroupRun {
    let live = lake.record().live.unwrap();
    GroupRun { group: "core".into(), run: live.run, members: lake.named().unwrap() }
}

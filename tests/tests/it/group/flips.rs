//! Group flips, one run after the other: all members flip, or none.

use serde_json::json;
use tests::{
    catalog::{Fault, Op},
    query,
};
use turntable::{
    error::Kind,
    publish::Outcome,
    record::{Flip, FlipOrigin},
};

use super::lake::{Lake, MEMBERS, event, some, table};

fn flips(lake: &Lake, by: FlipOrigin) -> Vec<Flip> {
    lake.rig.flips().into_iter().filter(|flip| flip.by == by).collect()
}

#[tokio::test]
async fn the_last_manifest_flips_all_and_the_others_wait_for_it() {
    let lake = Lake::new();
    let run = lake.run().await;
    for early in ["a", "b"] {
        let waits = lake.ask(event(&run, early)).await.unwrap();
        assert_eq!(waits.outcome, Outcome::Waiting);
        assert_eq!(waits.reasons, ["group core flips when the last manifest, that of c, is written"]);
    }
    assert!(lake.live().values().all(Option::is_none));

    let swapped = lake.ask(event(&run, "c")).await.unwrap();
    assert_eq!((swapped.outcome, swapped.live), (Outcome::Committed, Some(run.members["c"].to_string())));
    let group = swapped.group.unwrap();
    assert_eq!((group.run, group.live.len(), group.previous.len()), (Some(run.run.to_string()), 3, 3));
    assert!(group.between_ms.is_some());
    lake.is_settled_at(&[&run], "after the first run");
    for late in MEMBERS {
        let expected = if late == "c" { Outcome::AlreadyLive } else { Outcome::Waiting };
        assert_eq!(lake.ask(event(&run, late)).await.unwrap().outcome, expected);
    }
    let next = lake.flipped().await;
    lake.is_settled_at(&[&next], "after the second run");
    assert_eq!(lake.ask(event(&run, "c")).await.unwrap().outcome, Outcome::Stale);
    assert_eq!(flips(&lake, FlipOrigin::Event).len(), 6);
    assert_eq!(lake.record().past[0].set.run, run.run);
}

#[tokio::test]
async fn a_run_whose_last_manifest_is_not_there_waits_for_the_rest() {
    let lake = Lake::new();
    let run = lake.run().await;
    lake.rig.objects.delete(&super::lake::paths("b").manifest(&run.members["b"]).to_string());
    let waits = lake.ask(event(&run, "c")).await.unwrap();
    assert_eq!((waits.outcome, waits.reasons), (Outcome::Waiting, vec!["no manifest yet for b".to_owned()]));
    assert!(lake.live().values().all(Option::is_none));
}

#[tokio::test]
async fn a_member_that_fails_its_audit_keeps_all_before_the_first_table_is_touched() {
    let checks = "checks = { min_rows = 2, sql = [\"SELECT count(*) = 0 FROM {table}\"] }\n";
    let lake = Lake::with(checks);
    let old = lake.flipped().await;
    let updates = lake.rig.catalog.calls(Op::Update);
    let bad = lake.run_of([3, 1, 5]).await;
    let why = lake.rejected(&bad).await;
    assert!(why.contains("b: min_rows: expected at least 2, found 1"), "{why}");
    assert_eq!(lake.rig.catalog.calls(Op::Update), updates, "nothing was touched");
    lake.is_settled_at(&[&old], "a member is rejected");
    // Athena's answer about one member is enough to reject the run.
    lake.rig.athena.answers(|sql| {
        Ok(query::one(if sql.contains("turntable_audit_b") && sql.contains("= 0") { "false" } else { "true" }))
    });
    let bad = lake.run().await;
    let why = lake.rejected(&bad).await;
    assert!(why.contains("b: sql"), "{why}");
    assert_eq!(lake.rig.catalog.calls(Op::Update), updates, "nothing was touched");
    lake.is_settled_at(&[&old], "a member is rejected by Athena");
}

#[tokio::test]
async fn a_table_that_cannot_be_moved_takes_all_back_and_says_so() {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let run = lake.run().await;
    lake.rig.catalog.deny(Some(table("b")));
    let error = lake.ask(event(&run, "c")).await.unwrap_err();
    // While updates to b are denied, a late one could still arrive, so the flip isn't over. Readers see the old run
    // again.
    assert_eq!((error.kind(), lake.live()), (Kind::Config, some(&old)), "{}", error.report());
    assert!(error.message().contains("but b could not be moved back"), "{}", error.report());
    assert!(lake.record().flipping.unwrap().back.unwrap().contains("b: dmp.b: UpdateTable is denied"));
    lake.rig.catalog.deny(None);
    let why = lake.rejected(&run).await;
    assert!(
        why.contains("group core was flipped back to its state before this flip: b: dmp.b: UpdateTable is denied"),
        "{why}"
    );
    lake.is_settled_at(&[&old], "it went back");
    let back = flips(&lake, FlipOrigin::Group);
    assert_eq!(back.iter().map(|flip| flip.dataset.as_str()).collect::<Vec<_>>(), ["a", "c"], "b has never moved");
    assert!(back.iter().all(|flip| flip.why.as_ref().is_some_and(|why| why.contains("denied"))));
    assert_eq!(lake.record().went_back.unwrap().run, run.run);

    // The run's event is delivered again and rejected; an operator's request overrides the rejection.
    lake.rejected(&run).await;
    lake.is_settled_at(&[&old], "its event came again");
    let by_hand = lake.ask(json!({ "dataset": "a", "generation": run.members["a"] })).await.unwrap();
    assert_eq!(by_hand.outcome, Outcome::Committed);
    lake.is_settled_at(&[&run], "by hand");
}

#[tokio::test]
async fn an_update_without_an_answer_is_retried_and_then_all_goes_back() {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let run = lake.run().await;
    let updates = lake.rig.catalog.calls(Op::Update);
    lake.rig.catalog.on(Op::Update, updates + 2, Fault::Fail);
    assert_eq!(lake.ask(event(&run, "c")).await.unwrap().outcome, Outcome::Committed);
    lake.is_settled_at(&[&run], "one answer was lost");
    for fault in [Fault::LoseReply, Fault::Echo, Fault::Overtake] {
        let next = lake.run().await;
        lake.rig.catalog.on(Op::Update, lake.rig.catalog.calls(Op::Update) + 2, fault);
        assert_eq!(lake.ask(event(&next, "c")).await.unwrap().outcome, Outcome::Committed, "{fault:?}");
        lake.is_settled_at(&[&next], &format!("{fault:?}"));
    }
    let (before, never) = (lake.live(), lake.run().await);
    let updates = lake.rig.catalog.calls(Op::Update);
    // Each attempt's first call is for a, or for the first table that is left.
    for call in [2, 4, 5] {
        lake.rig.catalog.on(Op::Update, updates + call, Fault::Fail);
    }
    lake.rejected(&never).await;
    assert_eq!(lake.live(), before);
    assert_ne!(some(&old), before);
}

#[tokio::test]
async fn a_canary_takes_all_back() {
    let lake = Lake::with("checks = { canary = \"SELECT count(*) > 0 FROM {table}\" }\n");
    let old = lake.flipped().await;
    lake.rig.athena.answers(|sql| Ok(query::one(if sql.contains("b") { "false" } else { "true" })));
    let run = lake.run().await;
    let why = lake.rejected(&run).await;
    assert!(why.contains("b: canary"), "{why}");
    lake.is_settled_at(&[&old], "the canary of b");
    assert_eq!(flips(&lake, FlipOrigin::Group).len(), 3);
}

#[tokio::test]
async fn a_created_table_stays_behind_and_is_reported() {
    let lake = Lake::with("checks = { canary = \"SELECT count(*) > 0 FROM {table}\" }\n");
    lake.rig.athena.answers(|_| Ok(query::one("false")));
    let run = lake.run().await;
    let why = lake.rejected(&run).await;
    assert!(why.contains("there was no table before this flip"), "{why}");
    assert_eq!((lake.record().flipping, lake.named()), (None, None));
    lake.rig.athena.answers(|_| Ok(query::one("true")));
    lake.flipped().await;
}

#[tokio::test]
async fn a_run_with_other_members_is_stale() {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let run = lake.run().await;
    lake.configure(&["a", "b"]);
    // c comes last in the run, but is no longer a member.
    let alone = lake.ask(event(&run, "c")).await.unwrap();
    assert_eq!(alone.outcome, Outcome::Stale);
    assert!(alone.reasons[0].contains("which the dataset has left: invoke export again"), "{:?}", alone.reasons);
    let fewer = lake.ask(json!({ "dataset": "a", "generation": run.members["a"] })).await.unwrap();
    assert_eq!(fewer.outcome, Outcome::Stale);
    assert_eq!(fewer.reasons, ["group core was exported with the members a, b, c, but has a, b now: export it again"]);
    lake.configure(&["a", "b", "c"]);
    lake.is_settled_at(&[&old], "nothing has flipped");
    assert_eq!(lake.ask(event(&run, "c")).await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test]
async fn a_generation_exported_alone_does_not_flip_in_a_group() {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let run = lake.run().await;
    let key = super::lake::paths("a").manifest(&run.members["a"]).to_string();
    let mut manifest: serde_json::Value = serde_json::from_slice(&lake.rig.objects.body(&key).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("group");
    lake.rig.objects.put(&key, manifest.to_string());
    let stale = lake.ask(event(&run, "a")).await.unwrap();
    assert_eq!(stale.outcome, Outcome::Stale);
    assert!(stale.reasons[0].contains("was exported without its group: invoke export again"), "{:?}", stale.reasons);
    lake.is_settled_at(&[&old], "nothing has flipped");
}

/// Without this protection, anybody who can write into `_groups` could make any location live without an audit.
#[tokio::test]
async fn forged_record_moves_no_table_to_a_place_of_its_own() {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let key = "s3://lake/schemas/_groups/core.json";
    let forge = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut record = serde_json::to_value(lake.record()).unwrap();
        change(&mut record);
        lake.rig.objects.put(key, record.to_string());
    };
    // A flip that has to go back to somewhere else.
    let to = serde_json::to_value(lake.record().live.unwrap()).unwrap();
    let from = json!({ "a": "s3://lake/evil/", "b": "s3://lake/evil/", "c": "s3://lake/evil/" });
    forge(&|record| record["flipping"] = json!({ "to": to, "from": from, "back": "because" }));
    let run = lake.run().await;
    drop(lake.ask(event(&run, "c")).await);
    drop(lake.ask(event(&run, "c")).await);
    lake.is_settled_at(&[&old, &run], "no table is at the forged location");

    // A flip to a generation that the record says is somewhere else.
    let live = lake.record().live.unwrap();
    let mut to = serde_json::to_value(&live).unwrap();
    to["tables"]["a"]["location"] = json!("s3://lake/evil/");
    let from: serde_json::Map<_, _> =
        live.tables.iter().map(|(name, member)| (name.clone(), json!(member.location))).collect();
    forge(&|record| record["flipping"] = json!({ "to": to, "from": from }));
    let run = lake.run().await;
    drop(lake.ask(event(&run, "c")).await);
    assert!(lake.rig.catalog.writes().iter().all(|(_, table)| {
        !table.storage_descriptor().and_then(|storage| storage.location()).unwrap_or_default().contains("evil")
    }));
}

//! Drops leave the inbox once they have been in the table for as long as the drain, and nothing is lost.

use std::sync::Arc;

use jiff::SignedDuration;
use tests::{
    optouts::{Lake, Wire, many},
    rig::Sent,
};
use turntable::{error::Kind, publish::Outcome};

const DRAIN: SignedDuration = SignedDuration::from_mins(61);

fn one(id: i64, state: &str) -> String {
    format!("user_id,state,occurred_at\n{id},{state},2026-01-01T00:00:00Z\n")
}

#[tokio::test]
async fn drops_leave_the_inbox_and_lives_list_once_they_have_been_live_for_the_drain() {
    let lake = Lake::default();
    lake.drop("2026/a.csv", one(1, "opted_out"));
    lake.refresh().await.unwrap();
    assert!(lake.sweep().await.archived.is_empty());
    lake.advance(DRAIN);
    lake.drop("b.csv", one(2, "opted_out"));
    lake.refresh().await.unwrap();
    // The previous generation, which lacks b, isn't swept yet.
    let planned = lake.sweep_on(lake.wire(), true).await.unwrap();
    assert_eq!((planned.archived[0].objects, lake.inbox().len()), (1, 2));
    let swept = lake.sweep().await;
    assert_eq!((swept.archived[0].objects, swept.archived[0].bytes), (1, 59));
    assert_eq!(swept.archived[0].location, "s3://lake/inbox/optouts/");
    assert_eq!(lake.inbox(), ["b.csv"]);
    let archived: Vec<String> = lake.objects.keys().into_iter().filter(|key| key.contains("/_archive/")).collect();
    assert!(archived[0].starts_with("s3://lake/_archive/inbox/optouts/") && archived[0].ends_with("/2026/a.csv"));

    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
    lake.drop("c.csv", one(3, "opted_out"));
    lake.refresh().await.unwrap();
    assert_eq!((lake.consumed(), lake.table().len()), (vec!["b.csv".to_owned(), "c.csv".to_owned()], 3));
    // A drop that is put back is read again, and changes nothing.
    lake.drop("a-again.csv", lake.get(&archived[0]).unwrap());
    let again = lake.refresh().await.unwrap();
    assert_eq!((again.drops, again.applied, lake.table().len()), (1, 0, 3));
}

#[tokio::test]
async fn a_drop_stays_while_a_generation_without_it_could_be_live_again() {
    let lake = Lake::default();
    lake.configure_dataset("retain = { generations = 1 }\n");
    for (name, id) in [("a.csv", 1), ("b.csv", 2), ("c.csv", 3)] {
        lake.drop(name, one(id, "opted_out"));
        lake.refresh().await.unwrap();
        lake.advance(DRAIN);
    }
    lake.sweep().await;
    assert_eq!((lake.manifests().len(), lake.inbox()), (2, vec!["c.csv".to_owned()]));
}

/// Creates a lake with two drops that have been live for as long as the drain.
async fn drained() -> Lake {
    let lake = Lake::default();
    lake.drop("a.csv", one(1, "opted_out"));
    lake.drop("b.csv", one(2, "withdrawn"));
    lake.refresh().await.unwrap();
    lake.advance(DRAIN);
    lake
}

#[tokio::test]
async fn a_drop_that_is_overwritten_at_any_moment_of_a_sweep_is_a_new_drop() {
    let wire = Wire::default();
    drained().await.sweep_on(wire.clone(), false).await.unwrap();
    for at in 1..=wire.calls() {
        let lake = drained().await;
        let objects = lake.objects.clone();
        let overwrite = move || drop(objects.put("s3://lake/inbox/optouts/a.csv", one(7, "opted_out")));
        let wire = Wire { meanwhile: Some((at, Arc::new(overwrite))), ..Wire::default() };
        lake.sweep_on(wire, false).await.unwrap();
        let done = lake.refresh().await.unwrap();
        assert_eq!((done.drops, lake.inbox()), (1, vec!["a.csv".to_owned()]), "overwritten at call {at}");
        let ids: Vec<i64> = lake.table().into_iter().map(|(id, _, _)| id).collect();
        assert_eq!(ids, [1, 2, 7], "overwritten at call {at}");
    }
}

#[tokio::test]
async fn a_sweep_that_dies_anywhere_is_finished_by_the_next() {
    let wire = Wire::default();
    let whole = drained().await;
    whole.sweep_on(wire.clone(), false).await.unwrap();
    for at in 1..=wire.calls() {
        for effect in [false, true] {
            let lake = drained().await;
            let _ = lake.sweep_on(Wire { dies: Some((at, effect)), ..Wire::default() }, false).await;
            lake.sweep().await;
            assert_eq!(lake.inbox(), [""; 0], "died at call {at}");
            let archived =
                |lake: &Lake| lake.objects.keys().into_iter().filter(|key| key.contains("/_archive/")).count();
            assert_eq!((archived(&lake), archived(&whole)), (2, 2));
        }
    }
}

#[tokio::test]
async fn an_invocation_moves_what_it_may_and_the_next_goes_on() {
    let lake = Lake::default();
    for number in 0..25 {
        lake.drop(&format!("{number}.csv"), one(number, "opted_out"));
    }
    lake.refresh().await.unwrap();
    lake.advance(DRAIN);
    for left in [15, 5, 0] {
        let limits = sweep::Limits { objects: 10, ..sweep::Limits::default() };
        let sweep = sweep::Sweep { env: lake.env(lake.wire()), queue: Arc::<Sent>::default(), limits };
        let swept = sweep::handle(sweep, serde_json::json!({})).await.unwrap();
        assert_eq!((lake.inbox().len(), swept.more), (left, left > 0));
    }
}

#[tokio::test]
async fn a_lost_table_is_not_recreated_without_archived_opt_outs() {
    let lake = drained().await;
    lake.sweep().await;
    turntable::aws::glue::GlueApi::delete(&*lake.catalog, &lake.table_name()).await.unwrap();
    lake.drop("c.csv", many(3..4));
    let refused = lake.refresh().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(refused.message().contains("create it again with the location s3://lake/schemas/optouts/"), "{refused:?}");
}

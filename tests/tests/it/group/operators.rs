//! Operators' requests, each of which names a member and applies to its group; and drift of one table.

use jiff::SignedDuration;
use serde_json::json;
use turntable::{error::Kind, layout::TableName, publish::Outcome, record::FlipOrigin};

use super::lake::{Lake, changed, event, paths, some};
use crate::wire::Wire;

#[tokio::test]
async fn a_rollback_is_of_all_and_no_event_undoes_it() {
    let lake = Lake::new();
    let first = lake.flipped().await;
    let second = lake.flipped().await;
    let running = lake.run().await;
    let back = lake.action("rollback").await.unwrap();
    assert_eq!((back.outcome, back.live), (Outcome::Committed, Some(first.members["b"].to_string())));
    lake.is_settled_at(&[&first], "rolled back");
    assert_eq!(lake.record().live.unwrap().by, FlipOrigin::Rollback);
    for late in [&second, &running] {
        assert_eq!(lake.ask(event(late, "c")).await.unwrap().outcome, Outcome::Stale);
    }
    lake.is_settled_at(&[&first], "late events");
    // Then goes forward again, to a named generation.
    let forth = json!({ "dataset": "a", "action": "rollback", "generation": second.members["a"] });
    assert_eq!(lake.ask(forth.clone()).await.unwrap().outcome, Outcome::Committed);
    lake.is_settled_at(&[&second], "and forth");
    assert_eq!(lake.ask(forth).await.unwrap().outcome, Outcome::AlreadyLive);
    let never = json!({ "dataset": "a", "action": "rollback", "generation": running.members["a"] });
    assert_eq!(lake.ask(never).await.unwrap_err().kind(), Kind::Input);
    assert_eq!(lake.action("rollback").await.unwrap().outcome, Outcome::Committed);
    lake.is_settled_at(&[&first], "back and forth and back");
    // A run with a missing file doesn't come back, not even in part.
    lake.rig.objects.delete(&paths("c").generation(&second.members["c"]).key("part-00000.parquet").to_string());
    let damaged = lake.action("rollback").await.unwrap_err();
    assert_eq!(damaged.kind(), Kind::Rejected);
    lake.is_settled_at(&[&first], "a damaged set");
}

#[tokio::test]
async fn flip_request_for_the_live_run_restores_the_members_tables() {
    let lake = Lake::new();
    let run = lake.flipped().await;
    let name = TableName { database: "dmp".into(), table: "b".into() };
    let table = lake.rig.catalog.get(&name).unwrap();
    let mut edited = turntable::aws::glue::unchanged(&table);
    edited.storage_descriptor.as_mut().unwrap().columns.as_mut().unwrap()[0].r#type = Some("date".into());
    lake.rig.catalog.put("dmp", edited);
    let answer = lake.ask(json!({ "dataset": "a", "generation": run.members["a"] })).await.unwrap();
    assert_eq!(answer.outcome, Outcome::AlreadyLive);
    assert!(answer.reasons[0].starts_with("b: restored: columns: "), "{:?}", answer.reasons);
    let now = lake.rig.catalog.get(&name).unwrap();
    assert_eq!(now.storage_descriptor, table.storage_descriptor);
}

#[tokio::test]
async fn a_hold_of_one_is_a_hold_of_all() {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let held = lake.action("hold").await.unwrap();
    assert_eq!(
        (held.outcome, held.status.unwrap().hold.unwrap().reason),
        (Outcome::Held, "the operator's word".into())
    );
    let run = lake.run().await;
    assert_eq!(lake.ask(event(&run, "c")).await.unwrap().outcome, Outcome::Held);
    lake.is_settled_at(&[&old], "held");
    let released = lake.action("release").await.unwrap();
    assert!(released.status.unwrap().hold.is_none());
    assert_eq!(lake.ask(event(&run, "c")).await.unwrap().outcome, Outcome::Committed);
    lake.is_settled_at(&[&run], "released");
}

async fn attention(lake: &Lake) -> Vec<String> {
    let told = flip::answer(lake.env(), json!({ "action": "status" })).await.unwrap();
    serde_json::from_value(serde_json::to_value(told).unwrap()["attention"].take()).unwrap()
}

#[tokio::test]
async fn the_status_of_all_datasets_knows_of_their_groups() {
    let lake = Lake::new();
    lake.flipped().await;
    assert_eq!(attention(&lake).await, [""; 0]);
    lake.action("hold").await.unwrap();
    assert_eq!(attention(&lake).await, ["a", "b", "c"].map(|name| format!("{name}: held: the operator's word")));
    lake.action("release").await.unwrap();
    lake.dies_midway(&lake.run().await).await;
    let told = attention(&lake).await;
    assert!(told.len() == 3 && told.iter().all(|told| told.contains(": group core: a flip to run ")), "{told:?}");
}

#[tokio::test]
async fn a_members_older_hold_holds_the_group_until_released() {
    let lake = Lake::new();
    lake.configure(&["a", "b"]);
    lake.ask(json!({ "dataset": "c", "action": "hold", "reason": "alone" })).await.unwrap();
    lake.configure(&["a", "b", "c"]);
    let run = lake.run().await;
    assert_eq!(lake.ask(event(&run, "c")).await.unwrap().outcome, Outcome::Held);
    lake.action("release").await.unwrap();
    assert_eq!(lake.ask(event(&run, "c")).await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test]
async fn status_tells_of_the_group_and_of_what_is_unfinished() {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let status = lake.ask(json!({ "dataset": "a", "action": "status" })).await.unwrap();
    let group = status.group.unwrap();
    assert_eq!(group.live["c"], Some(old.members["c"].to_string()));
    assert_eq!(group.record.unwrap(), lake.record());
    assert_eq!(status.reasons, Vec::<String>::new());

    let run = lake.run().await;
    lake.dies_midway(&run).await;
    let told = lake.ask(json!({ "dataset": "a", "action": "status" })).await.unwrap().reasons;
    assert!(told[0].contains("is going forward; the group's next request or event finishes it"), "{told:?}");
}

#[tokio::test]
async fn a_drifted_member_is_left_and_the_others_go_on() {
    let lake = Lake::with("on_drift = \"repair\"\n");
    let first = lake.flipped().await;
    let second = lake.flipped().await;
    lake.moved("a", &paths("a").generation(&first.members["a"]).to_string());
    assert_eq!(lake.ask(changed("a")).await.unwrap().outcome, Outcome::Committed, "repaired");
    lake.is_settled_at(&[&second], "repaired");

    // After lasting drift, the next run waits for an operator, and moves nothing.
    lake.configure(&["a", "b", "c"]);
    lake.moved("a", "s3://lake/elsewhere");
    let run = lake.run().await;
    assert_eq!(lake.ask(event(&run, "c")).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(lake.live_of("b"), Some(second.members["b"]));
    let by_hand = lake.ask(json!({ "dataset": "a", "generation": run.members["a"] })).await.unwrap();
    assert_eq!(by_hand.outcome, Outcome::Committed);
    lake.is_settled_at(&[&run], "by hand");
}

const SWEPT: &str = "retain = { generations = 0, drain = \"1h\", abandoned = \"1h\", max_age = \"9d\" }\n";

/// Generations that the record names are kept for as long as a flip is unfinished, and start to drain once it is done.
#[tokio::test]
async fn sweep_keeps_what_the_record_names() {
    let lake = Lake::with(SWEPT);
    let old = lake.flipped().await;
    let run = lake.run().await;
    lake.dies_midway(&run).await;
    assert_eq!(lake.named(), Some(old.members.clone()));
    for _ in 0..2 {
        lake.rig.advance(SignedDuration::from_hours(48));
        lake.sweep().await;
        assert_eq!((lake.there(&old), lake.there(&run)), (3, 3));
    }
    lake.ask(event(&run, "c")).await.unwrap();
    lake.is_settled_at(&[&run], "finished after days");
    lake.sweep().await;
    assert_eq!(lake.there(&old), 3, "a reader of the record just before still reads it");
    lake.rig.advance(SignedDuration::from_mins(61));
    lake.sweep().await;
    assert_eq!((lake.there(&old), lake.there(&run)), (0, 3));
    assert_eq!(lake.live(), some(&run));
}

/// A group's first flip starts without a group record.
#[tokio::test]
async fn sweep_keeps_what_a_flip_would_go_back_to() {
    let lake = Lake::with(SWEPT);
    let old = lake.flipped().await;
    lake.rig.objects.delete("s3://lake/schemas/_groups/core.json");
    let run = lake.run().await;
    // The record says that all tables have been moved, but not that the flip is over.
    for at in 0.. {
        let (_, env) = Wire::dying(&lake.env(), at);
        drop(flip::handle(env, event(&run, "c")).await);
        if lake.rig.flips().len() == 6 {
            break;
        }
    }
    assert!(lake.record().flipping.is_some());
    for _ in 0..2 {
        lake.rig.advance(SignedDuration::from_hours(48));
        lake.sweep().await;
    }
    lake.moved("b", "s3://lake/elsewhere");
    lake.rejected(&run).await;
    assert_eq!((lake.live_of("a"), lake.live_of("c")), (Some(old.members["a"]), Some(old.members["c"])));
    assert_eq!((lake.record().flipping, lake.there(&old)), (None, 3));
}

#[tokio::test]
async fn a_member_that_leaves_midway_stays_and_the_others_go_back() {
    let lake = Lake::new();
    let old = lake.flipped().await;
    let run = lake.run().await;
    lake.dies_midway(&run).await;
    lake.configure(&["b", "c"]);
    assert_eq!(lake.action("hold").await.unwrap().outcome, Outcome::Held);
    let record = lake.record();
    assert_eq!((record.flipping, record.live.unwrap().run), (None, old.run));
    let why = "a is no longer a member; a is no longer a member, and stays as it is";
    assert_eq!(record.went_back.unwrap().why, why);
    assert_eq!(
        ["a", "b", "c"].map(|name| lake.live_of(name)),
        [Some(run.members["a"]), Some(old.members["b"]), Some(old.members["c"])]
    );
}

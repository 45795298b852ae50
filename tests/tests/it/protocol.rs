//! The protocol, in process: what is live after each possible failure between S3, Glue and Turntable.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_glue::types::{Column, SerDeInfo, StorageDescriptor, TableInput};
use serde_json::json;
use tests::{
    catalog::{Fault, Op},
    disturbed::Disturbed,
    rig::Rig,
};
use tokio::sync::Notify;
use turntable::{error::Kind, publish::Outcome};

#[tokio::test]
async fn the_first_generation_creates_the_table_and_the_next_one_moves_it() {
    let rig = Rig::default();
    let blue = rig.export().await;
    let first = rig.deliver(&blue).await.unwrap();
    assert_eq!((first.outcome, first.live, first.previous), (Outcome::Committed, Some(blue.to_string()), None));
    let columns = rig.catalog.get(&rig.table).unwrap().storage_descriptor.unwrap().columns.unwrap();
    let columns: Vec<_> = columns.iter().map(|column| (column.name(), column.r#type().unwrap())).collect();
    assert_eq!(columns, [("id", "bigint"), ("name", "string")]);

    let green = rig.export().await;
    assert_ne!(blue.colour, green.colour);
    let second = rig.deliver(&green).await.unwrap();
    assert_eq!((second.outcome, second.previous), (Outcome::Committed, Some(blue.to_string())));
    assert_eq!((rig.live(), rig.records()), (Some(green), 2));
}

#[tokio::test]
async fn a_flip_changes_the_location_and_nothing_else() {
    let rig = Rig::default();
    let column = |name: &str, kind: &str| Column::builder().name(name).r#type(kind).comment("by hand").build().unwrap();
    let storage = StorageDescriptor::builder()
        .columns(column("id", "bigint"))
        .columns(column("name", "string"))
        .location("s3://lake/schemas/users/blue")
        .number_of_buckets(-1)
        .parameters("a", "b")
        .serde_info(SerDeInfo::builder().name("s").parameters("serialization.format", "1").build())
        .build();
    let before = TableInput::builder()
        .name("users")
        .description("people")
        .owner("dmp")
        .retention(7)
        .parameters("classification", "parquet")
        .parameters("comment", "by hand")
        .table_type("EXTERNAL_TABLE")
        .storage_descriptor(storage)
        .build()
        .unwrap();
    rig.catalog.put("dmp", before);
    let was = rig.catalog.get(&rig.table).unwrap();

    // Flips from an older flat `…/blue`: the table is adopted, and the next generation is green.
    let green = rig.export().await;
    assert_eq!(green.colour.to_string(), "green");
    assert_eq!(rig.deliver(&green).await.unwrap().previous.as_deref(), Some("s3://lake/schemas/users/blue/"));

    let mut expected = was.clone();
    expected.version_id = Some("1".into());
    expected.storage_descriptor.as_mut().unwrap().location = Some(rig.paths.generation(&green).to_string());
    assert_eq!(rig.catalog.get(&rig.table).unwrap(), expected);
}

#[tokio::test]
async fn a_lost_race_reloads_and_a_lost_or_echoed_reply_is_settled_by_location() {
    for fault in [Fault::Overtake, Fault::LoseReply, Fault::Echo] {
        let rig = Rig::default();
        let blue = rig.export().await;
        rig.deliver(&blue).await.unwrap();
        let green = rig.export().await;
        rig.catalog.on(Op::Update, 1, fault);
        assert_eq!(rig.deliver(&green).await.unwrap().outcome, Outcome::Committed, "{fault:?}");
        assert_eq!((rig.live(), rig.records()), (Some(green), 2), "{fault:?}");
        // Only the update that lost the race was sent again; the other updates had taken effect.
        let updates = if fault == Fault::Overtake { 2 } else { 1 };
        assert_eq!(rig.catalog.calls(Op::Update), updates, "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_or_echoed_creation_is_settled_too() {
    for fault in [Fault::LoseReply, Fault::Echo] {
        let rig = Rig::default();
        let blue = rig.export().await;
        rig.catalog.on(Op::Create, 1, fault);
        assert_eq!(rig.deliver(&blue).await.unwrap().outcome, Outcome::Committed, "{fault:?}");
        assert_eq!(rig.live(), Some(blue));
    }
}

#[tokio::test]
async fn an_update_that_failed_changes_nothing_and_works_when_delivered_again() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.catalog.on(Op::Update, 1, Fault::Fail);
    assert_eq!(rig.deliver(&green).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(rig.live(), Some(blue));
    assert_eq!(rig.deliver(&green).await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test]
async fn every_order_of_three_deliveries_of_two_exports_ends_at_the_fresher_one() {
    let mut orders = 0;
    for order in 0u32..64 {
        if order.count_ones() != 3 {
            continue;
        }
        let rig = Rig::default();
        let old = rig.export().await;
        rig.deliver(&old).await.unwrap();
        // Both exports see the same live generation, so both candidates have the same colour.
        let (first, second) = (rig.export().await, rig.export().await);
        for delivery in 0..6 {
            let generation = if order >> delivery & 1 == 1 { &first } else { &second };
            let outcome = rig.deliver(generation).await.unwrap().outcome;
            assert!(matches!(outcome, Outcome::Committed | Outcome::AlreadyLive | Outcome::Stale), "{outcome:?}");
        }
        assert_eq!(rig.live(), Some(second), "order {order:06b}");
        orders += 1;
    }
    assert_eq!(orders, 20);
}

#[tokio::test]
async fn deliveries_at_the_same_time_end_at_the_fresher_one() {
    let rig = Arc::new(Rig::default());
    let old = rig.export().await;
    rig.deliver(&old).await.unwrap();
    let (first, second) = (rig.export().await, rig.export().await);
    let deliveries = [first, second, first, second, first, second];
    let done = futures::future::join_all(deliveries.iter().map(|generation| rig.deliver(generation))).await;
    assert!(done.iter().all(|done| done.is_ok()), "{done:?}");
    assert_eq!(rig.live(), Some(second));
}

#[tokio::test]
async fn a_delivery_that_loses_to_its_duplicate_writes_no_other_record() {
    let rig = Arc::new(Rig::default());
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let (first, second) = (rig.export().await, rig.export().await);
    // While this delivery audits, other deliveries flip to the first candidate, and then to this delivery's.
    let (others, done) = (rig.clone(), Arc::new(AtomicBool::new(false)));
    let disturbed = Disturbed::default().before_list(&second.to_string(), move || {
        let (rig, again) = (others.clone(), done.swap(true, Ordering::Relaxed));
        Box::pin(async move {
            if !again {
                rig.deliver(&first).await.unwrap();
                rig.deliver(&second).await.unwrap();
            }
        })
    });
    let env = rig.env_on(rig.catalog.port(), disturbed.on(&rig.objects));
    assert_eq!(flip::handle(env, rig.event(&second)).await.unwrap().outcome, Outcome::AlreadyLive);
    assert_eq!((rig.live(), rig.records()), (Some(second), 3));
    let back = rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap();
    assert_eq!(back.live, Some(first.to_string()));
}

#[tokio::test]
async fn a_flip_that_died_before_its_record_is_on_record_before_it_is_replaced() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    let no_records = Disturbed::default().refuse("/_flips/");
    let env = rig.env_on(rig.catalog.port(), no_records.on(&rig.objects));
    assert_eq!(flip::handle(env, rig.event(&green)).await.unwrap().outcome, Outcome::Committed);
    assert_eq!(rig.records(), 1);

    // The rollback first writes the missing record, so a late duplicate doesn't undo it.
    let back = rig.ask(json!({ "dataset": "users", "action": "rollback", "generation": blue })).await.unwrap();
    assert_eq!((back.outcome, rig.live(), rig.records()), (Outcome::Committed, Some(blue), 3));
    assert_eq!(rig.deliver(&green).await.unwrap().outcome, Outcome::Stale);
    assert_eq!(rig.live(), Some(blue));
}

#[tokio::test]
async fn without_a_record_nothing_is_replaced() {
    let rig = Rig::default();
    let blue = rig.export().await;
    let unrecorded = || rig.env_on(rig.catalog.port(), Disturbed::default().refuse("/_flips/").on(&rig.objects));
    flip::handle(unrecorded(), rig.event(&blue)).await.unwrap();
    let green = rig.export().await;
    assert_eq!(flip::handle(unrecorded(), rig.event(&green)).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(rig.live(), Some(blue));
}

#[tokio::test]
async fn a_rollback_goes_back_and_only_an_operator_goes_forward_again() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.deliver(&green).await.unwrap();
    let running = rig.export().await;
    let rollback = json!({ "dataset": "users", "action": "rollback", "reason": "wrong names" });
    let back = rig.ask(rollback.clone()).await.unwrap();
    assert_eq!((back.live, back.previous), (Some(blue.to_string()), Some(green.to_string())));
    // Neither a late duplicate nor a concurrent export undoes the rollback.
    for event in [green, running, green] {
        assert_eq!(rig.deliver(&event).await.unwrap().outcome, Outcome::Stale);
    }
    assert_eq!(rig.live(), Some(blue));
    let fresh = rig.export().await;
    assert_eq!(rig.deliver(&fresh).await.unwrap().outcome, Outcome::Committed);
    let forward = rig.ask(json!({ "dataset": "users", "action": "rollback", "generation": green })).await.unwrap();
    assert_eq!((forward.outcome, rig.live()), (Outcome::Committed, Some(green)));
}

/// The model found this order: a flip loads its state after a rollback's update, but before the rollback's record.
#[tokio::test]
async fn a_flip_that_loaded_before_a_rollbacks_record_does_not_undo_it() {
    let rig = Arc::new(Rig::default());
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.deliver(&green).await.unwrap();
    let running = rig.export().await;

    let (looked, returned) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let audits = {
        let (looked, returned) = (looked.clone(), returned.clone());
        Disturbed::default().before_list(&running.to_string(), move || {
            let (looked, returned) = (looked.clone(), returned.clone());
            Box::pin(async move {
                looked.notify_one();
                returned.notified().await;
                // The listings after a lost race needn't wait.
                returned.notify_one();
            })
        })
    };
    let late = {
        let (rig, audits) = (rig.clone(), audits.on(&rig.objects));
        move || flip::handle(rig.env_on(rig.catalog.port(), audits.clone()), rig.event(&running))
    };
    // The rollback's update gets no answer, so the rollback reads the flips between its update and its record.
    let update = rig.catalog.calls(Op::Update) + 1;
    rig.catalog.on(Op::Update, update, Fault::LoseReply);
    let task = Arc::new(Mutex::new(None));
    let settles = {
        let (rig, task) = (rig.clone(), task.clone());
        Disturbed::default().before_list("_flips", move || {
            let begins = rig.catalog.calls(Op::Update) == update && task.lock().unwrap().is_none();
            let looked = looked.clone();
            if begins {
                *task.lock().unwrap() = Some(tokio::spawn(late()));
            }
            Box::pin(async move {
                if begins {
                    looked.notified().await;
                }
            })
        })
    };
    let env = rig.env_on(rig.catalog.port(), settles.on(&rig.objects));
    let rollback = json!({ "dataset": "users", "action": "rollback" });
    assert_eq!(flip::handle(env, rollback).await.unwrap().outcome, Outcome::Committed);
    returned.notify_one();
    let late = task.lock().unwrap().take().unwrap();
    assert_eq!(late.await.unwrap().unwrap().outcome, Outcome::Stale);
    assert_eq!(rig.live(), Some(blue));
}

#[tokio::test]
async fn a_rollback_that_is_not_on_record_says_that_it_may_be_undone() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.deliver(&green).await.unwrap();
    let unrecorded = rig.env_on(rig.catalog.port(), Disturbed::default().refuse("/_flips/").on(&rig.objects));
    let error = flip::handle(unrecorded, json!({ "dataset": "users", "action": "rollback" })).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.message(),
        format!(
            "dmp.users: the table was rolled back to {blue}, but an export that was already running may still undo \
             it: set a hold, or check the status"
        )
    );
    assert_eq!(rig.live(), Some(blue));
}

#[tokio::test]
async fn a_repeated_rollback_makes_up_for_the_fence_that_the_first_one_lacks() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.deliver(&green).await.unwrap();
    let rollback = json!({ "dataset": "users", "action": "rollback" });
    // The rollback moves the table, but each of its fences fails.
    let moves = rig.catalog.calls(Op::Update) + 1;
    (1..=FENCES).for_each(|fence| rig.catalog.on(Op::Update, moves + fence, Fault::Fail));
    let error = rig.ask(rollback.clone()).await.unwrap_err();
    assert_eq!((error.kind(), rig.live(), rig.catalog.calls(Op::Update)), (Kind::Conflict, Some(blue), moves + FENCES));
    let version = || rig.catalog.get(&rig.table).unwrap().version_id;
    for named in [rollback, json!({ "dataset": "users", "action": "rollback", "generation": blue })] {
        let before = version();
        assert_eq!(rig.ask(named.clone()).await.unwrap().outcome, Outcome::AlreadyLive);
        assert_ne!(version(), before, "a flip that loaded its state before the record may still undo {named}");
        assert_eq!(rig.live(), Some(blue));
    }
    // If the repeated rollback can't fence the table either, its answer says so.
    let next = rig.catalog.calls(Op::Update);
    (1..=FENCES).for_each(|fence| rig.catalog.on(Op::Update, next + fence, Fault::Fail));
    let error = rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap_err();
    assert!(error.message().contains("may still undo it"), "{}", error.message());
}

/// How often a fence is tried before it fails.
const FENCES: usize = 8;

#[tokio::test]
async fn a_rollback_goes_only_to_what_has_been_live() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    rig.source(1);
    let rejected = rig.export().await;
    assert_eq!(rig.deliver(&rejected).await.unwrap().outcome, Outcome::Rejected);
    let error = rig.ask(json!({ "dataset": "users", "action": "rollback", "generation": rejected })).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert_eq!(
        error.message(),
        format!(
            "no flip to {rejected} is on record, and a rollback goes only to a generation that was live: request a \
             flip to it, which audits it"
        )
    );
    assert_eq!(rig.live(), Some(blue));
}

#[tokio::test]
async fn a_rollback_to_what_is_gone_or_damaged_is_refused() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.deliver(&green).await.unwrap();
    let rollback = json!({ "dataset": "users", "action": "rollback" });
    rig.objects.delete(&rig.paths.generation(&blue).key("part-00000.parquet").to_string());
    let error = rig.ask(rollback.clone()).await.unwrap_err();
    assert_eq!(
        error.message(),
        format!("users: the candidate was rejected, and {green} stays live: objects: part-00000.parquet is missing")
    );
    rig.objects.delete(&rig.paths.manifest(&blue).to_string());
    let error = rig.ask(rollback).await.unwrap_err();
    let expected = format!(
        "{}: no such manifest, because {blue} was swept or never complete; `status` lists the generations that exist",
        rig.paths.manifest(&blue)
    );
    assert_eq!((error.kind(), error.message()), (Kind::Input, expected.as_str()));
    assert_eq!(rig.live(), Some(green));
}

#[tokio::test]
async fn a_hold_stops_flips_and_not_exports_until_released() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let held = rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "bad source" })).await.unwrap();
    assert_eq!(held.outcome, Outcome::Held);
    let green = rig.export().await;
    let stopped = rig.deliver(&green).await.unwrap();
    assert_eq!((stopped.outcome, stopped.reasons), (Outcome::Held, vec!["bad source".to_owned()]));
    assert_eq!(rig.live(), Some(blue));
    rig.ask(json!({ "dataset": "users", "action": "release" })).await.unwrap();
    assert_eq!(rig.deliver(&green).await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test]
async fn a_hold_stops_a_flip_that_loaded_before_it() {
    let rig = Arc::new(Rig::default());
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    // When the audit lists the candidate, the flip has already read the table and found no hold.
    let holder = rig.clone();
    let disturbed = Disturbed::default().before_list(&green.to_string(), move || {
        let rig = holder.clone();
        Box::pin(async move {
            rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "stop" })).await.unwrap();
        })
    });
    let env = rig.env_on(rig.catalog.port(), disturbed.on(&rig.objects));
    assert_eq!(flip::handle(env, rig.event(&green)).await.unwrap().outcome, Outcome::Held);
    assert_eq!(rig.live(), Some(blue));
}

#[tokio::test]
async fn a_candidate_that_fails_its_audit_never_goes_live() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    rig.source(1);
    let green = rig.export().await;
    let stray = rig.paths.generation(&green).key("part-00001.parquet");
    rig.objects.put(&stray.to_string(), "PAR1");
    // The event must not be redelivered, so its answer isn't an error. An operator's request gets one.
    assert_eq!(rig.deliver(&green).await.unwrap().outcome, Outcome::Rejected);
    let error = rig.flip(&green).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Rejected);
    assert_eq!(
        error.message(),
        format!(
            "users: the candidate was rejected, and {blue} stays live: objects: part-00001.parquet is not in the manifest; \
             max_shrink: expected to lose at most 0.5 of the 3 live rows, found 1 rows"
        )
    );
    assert_eq!((rig.live(), rig.records()), (Some(blue), 1));
}

#[tokio::test]
async fn an_empty_source_is_a_valid_generation() {
    let rig = Rig::with("");
    rig.source(0);
    let blue = rig.export().await;
    assert_eq!(rig.deliver(&blue).await.unwrap().outcome, Outcome::Committed);
    let status = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap().status.unwrap();
    assert_eq!((status.generations.len(), status.generations[0].rows), (1, 0));
}

#[tokio::test]
async fn drift_is_left_to_an_operator() {
    let rig = Rig::default();
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let mut table = rig.catalog.get(&rig.table).unwrap();
    table.storage_descriptor.as_mut().unwrap().location = Some("s3://lake/schemas/users/blue".into());
    rig.catalog.put("dmp", turntable::aws::glue::unchanged(&table));
    let green = rig.export().await;
    let error = rig.deliver(&green).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.message(),
        format!(
            "the table of dataset \"users\" is at s3://lake/schemas/users/blue/, which is unmanaged, \
             although Turntable has flipped the table before: something else moved it. To take the table back, invoke \
             flip with {green}"
        )
    );
    let by_hand = rig.ask(json!({ "dataset": "users", "generation": green })).await.unwrap();
    assert_eq!((by_hand.outcome, rig.live()), (Outcome::Committed, Some(green)));
}

#[tokio::test]
async fn status_shows_waiting_candidates_the_last_flip_and_the_next_sweep() {
    let rig = Rig::with("retain = { generations = 0, drain = \"1h\" }\n");
    let blue = rig.export().await;
    rig.deliver(&blue).await.unwrap();
    let green = rig.export().await;
    rig.flip(&green).await.unwrap();
    rig.ask(json!({ "dataset": "users", "action": "rollback", "reason": "prices" })).await.unwrap();
    rig.ask(json!({ "dataset": "users", "action": "hold", "reason": "we look" })).await.unwrap();
    let waiting = rig.export().await;

    let answer = rig.ask(json!({ "dataset": "users", "action": "status" })).await.unwrap();
    assert_eq!((answer.live, answer.previous), (Some(blue.to_string()), Some(green.to_string())));
    let status = serde_json::to_value(answer.status.unwrap()).unwrap();
    assert_eq!(status["hold"]["reason"], "we look");
    assert_eq!(status["unflip"], json!(null));
    let told = |at: usize| {
        let known = &status["generations"][at];
        let flipped = &known["flipped"];
        assert!(known["age_seconds"].is_i64() && known["rows"] == 3 && known["bytes"].as_u64() > Some(0), "{known}");
        json!([known["generation"], known["state"], flipped["by"], flipped["why"]])
    };
    assert_eq!(told(0), json!([waiting, "candidate", null, null]));
    assert_eq!(told(1), json!([green, "replaced", "operator", null]));
    assert_eq!(told(2), json!([blue, "live", "rollback", "prices"]));

    let next = &status["next_sweep"];
    assert_eq!(next["deletes"], json!([]));
    let until = |generation| {
        let kept =
            next["keeps"].as_array().unwrap().iter().find(|kept| kept["generation"] == json!(generation)).unwrap();
        (kept["reason"].as_str().unwrap().split(':').next().unwrap().to_owned(), kept["until"].is_string())
    };
    assert_eq!(until(blue), ("live".into(), false));
    assert_eq!(until(green), ("draining".into(), true));
    assert_eq!(until(waiting), ("a candidate".into(), true));
}

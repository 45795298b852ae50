//! Opt-outs, in process: despite crashes and late, duplicate, concurrent or lost events, the table ends up as after one
//! clean run.

mod archive;
mod damage;
mod hostile;
mod identity;
mod inbox;
pub mod reader;
mod schedules;
pub mod views;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    catalog::{Fault, Op},
    optouts::{Lake, Out, Wire, many},
};
use turntable::{
    config::Source,
    deadline::Deadline,
    error::Kind,
    layout::Generation,
    manifest::Manifest,
    optout::{self, RefreshOptions},
    publish::Outcome,
};

#[tokio::test]
async fn the_first_drop_creates_the_table_and_the_next_ones_change_it() {
    let lake = Lake::default();
    lake.drop(
        "a.csv",
        "user_id,state,occurred_at\n1,opted_out,2026-01-01T00:00:00Z\n2,withdrawn,2026-01-01T00:00:00Z\n",
    );
    let first = lake.refresh().await.unwrap();
    assert_eq!(
        (first.outcome, first.drops, first.applied, first.rejected, first.rows),
        (Outcome::Committed, 1, 2, 0, 2)
    );
    assert_eq!(lake.live(), first.generation);

    lake.drop("b.ndjson", "{\"user_id\":1,\"state\":\"opted_in\",\"occurred_at\":\"2026-01-02T09:00:00+09:00\"}\n");
    lake.drop("late.csv", "state,occurred_at,user_id\nopted_in,2025-12-31T00:00:00Z,2\n");
    let second = lake.refresh().await.unwrap();
    assert_eq!((second.outcome, second.drops, second.applied, second.rows), (Outcome::Committed, 2, 1, 2));
    assert_eq!(lake.table(), [(1, Out::OptedIn, 1_767_312_000), (2, Out::Withdrawn, 1_767_225_600)]);
    assert_ne!(first.generation.unwrap().colour, second.generation.unwrap().colour);
}

#[tokio::test]
async fn nothing_new_is_four_calls_and_no_write() {
    let lake = Lake::default();
    lake.drop("a.csv", "user_id,state,occurred_at\n1,opted_out,2026-01-01T00:00:00Z\n");
    lake.refresh().await.unwrap();
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
    let (config, before) = (1, lake.calls());
    let generations = lake.manifests();
    lake.nudge(lake.wire()).await;
    assert_eq!(lake.manifests(), generations);
    assert_eq!(
        lake.calls() - before,
        config + 4,
        "datasets.toml; the table, the inbox's listing, its record and live's manifest"
    );
}

/// A refresh makes eight round trips until readers see the merge: `datasets.toml`; the table; the live manifest; the
/// drops (with the hold and the flips); the buckets; their new files; the manifest (with the audit's listing);
/// `UpdateTable`. The ninth is the flip's record.
#[tokio::test]
async fn round_trips_one_after_the_other_are_nine() {
    // A busy machine can only make a refresh slower, so only the shortest of five counts.
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let lake = Lake::with("buckets = 4");
        lake.drop("a.csv", many(0..100));
        lake.refresh().await.unwrap();
        lake.drop("b.csv", many(50..150));
        let slow = lake.slow(Duration::from_millis(100));
        let began = Instant::now();
        lake.nudge(slow).await;
        shortest = shortest.min(began.elapsed());
        assert_eq!(lake.table().len(), 150);
        if shortest < Duration::from_secs(1) {
            break;
        }
    }
    assert_eq!(shortest.as_millis() / 100, 9);
}

#[tokio::test]
async fn a_refresh_near_the_timeout_stops_by_itself_and_the_next_has_all_drops() {
    let lake = Lake::default();
    lake.drop("a.csv", many(0..100));
    lake.refresh().await.unwrap();
    let before = lake.table();
    lake.drop("b.csv", many(50..150));
    // A refresh makes nine round trips of 100 ms. The last tenth of the time is reserved for the answer.
    let (deadline, slow) = (Deadline::after(Duration::from_millis(600)), lake.slow(Duration::from_millis(100)));
    let began = Instant::now();
    let stopped = lake.handle_until(Some(deadline), slow, json!({ "dataset": "optouts" })).await.unwrap_err();
    assert_eq!(stopped.kind(), Kind::Config);
    assert!(stopped.message().contains("stopped shortly before the function's timeout"), "{}", stopped.message());
    // Five round trips fit into nine tenths of the time. A busy machine may be late, but it didn't make all nine.
    let took = began.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_millis(900)).contains(&took), "{took:?}");
    assert_eq!(lake.table(), before);
    assert_eq!(lake.refresh().await.unwrap().drops, 1);
    assert_eq!(lake.table().len(), 150);
}

#[tokio::test]
async fn untouched_buckets_are_copied_and_touched_ones_rewritten() {
    let lake = Lake::with("buckets = 16");
    lake.drop("a.csv", many(0..1000));
    lake.refresh().await.unwrap();
    let copied = lake.copies();
    lake.drop("b.csv", "user_id,state,occurred_at\n7,opted_in,2027-01-01T00:00:00Z\n");
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.applied, done.rows, lake.copies() - copied), (1, 1000, 15));
    lake.drop("old.csv", "user_id,state,occurred_at\n7,withdrawn,2020-01-01T00:00:00Z\n");
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.drops, done.applied, lake.copies() - copied), (Outcome::Committed, 1, 0, 31));
}

#[tokio::test]
async fn another_number_of_buckets_keeps_every_row() {
    let lake = Lake::with("buckets = 2");
    lake.drop("a.csv", many(0..500));
    lake.refresh().await.unwrap();
    let before = lake.table();
    for buckets in [16, 4, 64, 1] {
        lake.configure(&format!("buckets = {buckets}"));
        lake.drop(&format!("{buckets}.csv"), "user_id,state,occurred_at\n7,opted_out,2026-01-01T00:00:00Z\n");
        lake.refresh().await.unwrap();
        assert_eq!(lake.table(), before, "{buckets}");
    }
}

#[tokio::test]
async fn an_empty_inbox_makes_an_empty_table_with_its_columns() {
    let lake = Lake::default();
    let first = lake.refresh().await.unwrap();
    assert_eq!((first.outcome, first.rows), (Outcome::Committed, 0));
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
    lake.drop("a.csv", "user_id,state,occurred_at\n1,opted_out,2026-01-01T00:00:00Z\n");
    assert_eq!(lake.refresh().await.unwrap().rows, 1);
}

#[tokio::test]
async fn a_hold_keeps_drops_waiting_and_a_rollback_is_refused() {
    let lake = Lake::default();
    lake.drop("a.csv", many(0..3));
    lake.refresh().await.unwrap();
    lake.operator(json!({"dataset": "optouts", "action": "hold", "reason": "under review"})).await.unwrap();
    lake.drop("b.csv", many(0..9));
    let held = lake.refresh().await.unwrap();
    assert_eq!((held.outcome, held.drops, held.reasons), (Outcome::Held, 0, vec!["under review".to_owned()]));
    lake.operator(json!({"dataset": "optouts", "action": "release"})).await.unwrap();
    assert_eq!(lake.refresh().await.unwrap().rows, 9);
    let error = lake.operator(json!({"dataset": "optouts", "action": "rollback"})).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.message().contains("a published opt-out stays published"), "{}", error.message());
}

#[tokio::test]
async fn a_late_manifest_event_changes_nothing_and_one_of_a_dead_run_finishes_it() {
    let lake = Lake::default();
    lake.drop("a.csv", many(0..3));
    let first = lake.refresh().await.unwrap().generation.unwrap();
    lake.drop("b.csv", many(0..9));
    // The process dies between the manifest and `UpdateTable`.
    lake.catalog.on(Op::Update, 1, Fault::Fail);
    assert_eq!(lake.refresh().await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(lake.live(), Some(first));
    let dead = lake.manifests().into_iter().find(|generation| *generation != first).unwrap();
    assert_eq!(lake.deliver(&dead).await.unwrap().outcome, Outcome::Committed);
    assert_eq!((lake.live(), lake.table().len()), (Some(dead), 9));
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
    assert_eq!(lake.deliver(&first).await.unwrap().outcome, Outcome::Stale);
    assert_eq!(lake.live(), Some(dead));
}

#[tokio::test]
async fn a_generation_that_sweep_has_marked_does_not_go_live_after_the_fence() {
    // Both runs make the same calls, so their generations have the same names.
    let overtaken = async |marked: Option<Generation>| {
        let lake = Lake::default();
        lake.drop("a.csv", many(0..3));
        lake.refresh().await.unwrap();
        lake.drop("b.csv", many(0..9));
        if let Some(marked) = marked {
            lake.objects.put(&lake.paths().sweeping(&marked).to_string(), "{}");
        }
        lake.catalog.on(Op::Update, 1, Fault::Overtake);
        let done = lake.refresh().await;
        (lake, done)
    };
    let (lake, done) = overtaken(None).await;
    let done = done.unwrap();
    assert_eq!((done.outcome, done.generation, lake.manifests().len()), (Outcome::Committed, lake.live(), 2));
    let (lake, refused) = overtaken(done.generation).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(refused.message().contains("is being swept"), "{}", refused.message());
    assert_eq!(lake.table().len(), 3);
    assert_eq!(lake.refresh().await.unwrap().rows, 9);
}

#[tokio::test]
async fn min_interval_delays_messages_and_not_operators() {
    let lake = Lake::with("min_interval = \"1h\"");
    lake.drop("a.csv", many(0..3));
    lake.refresh().await.unwrap();
    lake.drop("b.csv", many(0..9));
    assert_eq!(lake.schedule().await.unwrap()[0].outcome, Outcome::Waiting);
    assert_eq!(lake.refresh().await.unwrap().rows, 9);
}

#[tokio::test]
async fn a_reconcile_keeps_the_later_word() {
    let lake = Lake::with("reconcile = { files = { location = \"s3://lake/nightly/\" } }");
    lake.drop(
        "a.csv",
        "user_id,state,occurred_at\n1,opted_out,2026-01-05T00:00:00Z\n2,opted_out,2026-01-01T00:00:00Z\n",
    );
    lake.refresh().await.unwrap();
    lake.objects.put(
        "s3://lake/nightly/all.csv",
        "user_id,state,occurred_at\n1,opted_in,2026-01-01T00:00:00Z\n2,opted_in,2026-01-05T00:00:00Z\n3,withdrawn,2026-01-01T00:00:00Z\n",
    );
    let done = lake.reconcile().await.unwrap();
    assert_eq!((done.outcome, done.drops, done.applied), (Outcome::Committed, 0, 2));
    let states: Vec<_> = lake.table().into_iter().map(|(id, state, _)| (id, state)).collect();
    assert_eq!(states, [(1, Out::OptedOut), (2, Out::OptedIn), (3, Out::Withdrawn)]);
}

#[tokio::test]
async fn drops_beyond_the_limit_of_records_are_left_and_merged_by_the_next_attempt() {
    let lake = Lake::default();
    for (number, people) in [0..3, 3..6, 6..9].into_iter().enumerate() {
        lake.drop(&format!("{number}.csv"), many(people));
    }
    let env = lake.env(lake.wire());
    let config = env.config().await.unwrap();
    let dataset = config.dataset("optouts").unwrap();
    let Source::Inbox(inbox) = &dataset.source else { panic!("{:?}", dataset.source) };
    // The second drop reaches the limit, so each merge except the last leaves a drop in the inbox.
    let ask = RefreshOptions { max_records: 4, ..RefreshOptions::default() };
    let done = optout::refresh(&env, dataset, inbox, &ask).await.unwrap();
    assert_eq!((done.outcome, done.drops, done.applied, done.left), (Outcome::Committed, 3, 9, 0));
    assert_eq!((lake.table().len(), lake.manifests().len()), (9, 2));
    assert_eq!(lake.consumed(), ["0.csv", "1.csv", "2.csv"]);
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
}

/// Changes the number of rows in the live manifest.
fn claim_rows(lake: &Lake, rows: u64) {
    let live = lake.live().unwrap();
    let at = lake.paths().manifest(&live);
    let manifest = Manifest::from_json(&at, &live, &lake.get(&at.to_string()).unwrap()).unwrap();
    lake.objects.put(&at.to_string(), Manifest { rows, ..manifest }.to_json());
}

#[tokio::test]
async fn a_merge_is_audited_against_the_rows_of_live() {
    let lake = Lake::default();
    lake.configure_dataset("checks = { max_shrink = 0.1, max_growth = 4.0 }\n");
    lake.drop("a.csv", many(0..3));
    lake.refresh().await.unwrap();
    lake.drop("b.csv", many(0..9));
    for (rows, reason) in [
        (100, "max_shrink: expected to lose at most 0.1 of the 100 live rows, found 9 rows"),
        (1, "max_growth: expected to gain at most 4 of the 1 live rows, found 9 rows"),
    ] {
        claim_rows(&lake, rows);
        let error = lake.refresh().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected);
        assert!(error.message().contains(reason), "{}", error.message());
        assert_eq!(lake.live().map(|live| lake.manifests()[0] == live), Some(true), "the first is live");
    }
    claim_rows(&lake, 3);
    assert_eq!(lake.refresh().await.unwrap().rows, 9);
}

/// Handles a queue event over this wire. Returns whether SQS redelivers the message.
async fn comes_again(lake: &Lake, wire: Wire) -> bool {
    let event: Value = serde_json::from_str(include_str!("../../../../events/optout-sqs.json")).unwrap();
    let answer = serde_json::to_value(lake.handle(wire, event.clone()).await.unwrap()).unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap();
    assert!(failures.iter().all(|failed| failed["itemIdentifier"] == event["Records"][0]["messageId"]), "{answer}");
    !failures.is_empty()
}

#[tokio::test]
async fn a_message_comes_again_until_its_drop_is_live() {
    // The first call reads `datasets.toml`. If it fails, the invocation fails, and all its messages are redelivered.
    for at in 2.. {
        let lake = Lake::default();
        lake.drop("a.csv", many(0..3));
        lake.refresh().await.unwrap();
        lake.drop("b.csv", many(0..9));
        let again = comes_again(&lake, Wire { dies: Some((at, false)), ..Wire::default() }).await;
        assert!(again || lake.table().len() == 9, "the message is gone, and its drop is not live: call {at}");
        if !again {
            assert!(at > 8, "a refresh has more calls");
            break;
        }
        assert!(!comes_again(&lake, lake.wire()).await);
        assert_eq!(lake.table().len(), 9);
    }
    let lake = Lake::default();
    lake.drop("a.csv", many(0..3));
    lake.catalog.on(Op::Create, 1, Fault::Fail);
    assert!(comes_again(&lake, lake.wire()).await, "the failure is Unavailable");
}

#[tokio::test]
async fn a_merge_is_as_of_a_time_before_its_listing() {
    let lake = Arc::new(Lake::default());
    Lake::drop(&lake, "a.csv", many(0..3));
    let listed = Arc::new(Mutex::new(None));
    // The first call reads `datasets.toml`, so the second call is the first of the refresh itself.
    let (clock, time) = (lake.clone(), listed.clone());
    let act = move || *time.lock().unwrap() = Some(clock.now());
    lake.refresh_on(Wire { meanwhile: Some((2, Arc::new(act))), ..Wire::default() }).await.unwrap();
    let live = lake.live().unwrap();
    let at = lake.paths().manifest(&live);
    let manifest = Manifest::from_json(&at, &live, &lake.get(&at.to_string()).unwrap()).unwrap();
    assert!(Some(manifest.as_of) <= *listed.lock().unwrap() && manifest.as_of < manifest.created_at, "{manifest:?}");
}

#[tokio::test]
async fn refresh_that_finds_no_table_starts_again_if_another_one_creates_it_meanwhile() {
    let other = Lake::default();
    other.drop("a.csv", many(0..3));
    other.refresh().await.unwrap();
    let table = other.catalog.get(&other.table_name()).unwrap();
    for at in 2..8 {
        let lake = Lake::default();
        lake.advance(jiff::SignedDuration::from_hours(1));
        lake.drop("a.csv", many(0..3));
        let (objects, catalog) = (lake.objects.clone(), lake.catalog.clone());
        let (theirs, table) = (other.objects.clone(), table.clone());
        let create = move || {
            theirs.keys().iter().for_each(|key| drop(objects.put(key, theirs.body(key).unwrap())));
            catalog.put("dmp", turntable::aws::glue::unchanged(&table));
        };
        let wire = Wire { meanwhile: Some((lake.calls() + at, Arc::new(create))), ..lake.wire() };
        lake.refresh_on(wire).await.unwrap_or_else(|error| panic!("call {at}: {error}"));
        assert_eq!(lake.table().len(), 3, "call {at}");
    }
}

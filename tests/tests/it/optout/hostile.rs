//! What somebody who may write into an inbox can't do: stop refreshes, or bring many people back.

use std::io::Write;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::optouts::{Lake, Out, many};
use turntable::{
    answer::OptedOut,
    config::Source,
    error::{Kind, Result},
    optout::{self, Answer, RefreshOptions},
    publish::Outcome,
};

const INBOX: &str = "s3://lake/inbox/optouts";

#[tokio::test]
async fn drop_that_s3_does_not_serve_is_set_aside_alone() {
    let lake = Lake::default();
    lake.drop("a.csv", many(0..3));
    lake.drop("b.csv", many(3..6));
    lake.drop("c.parquet", "PAR1, but nobody can read it");
    lake.drop("d.csv.gz", "nor this");
    for name in ["b.csv", "c.parquet", "d.csv.gz"] {
        lake.objects.refuse(&format!("{INBOX}/{name}"));
    }
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.drops, done.applied, done.rejected), (Outcome::Committed, 4, 3, 3));
    let rejected = lake.rejected();
    assert_eq!(rejected.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b.csv", "c.parquet", "d.csv.gz"]);
    for (_, records) in &rejected {
        assert_eq!((records.len(), records[0].0), (1, None));
        assert!(records[0].1.starts_with("S3 lists this drop but doesn't serve it"), "{records:?}");
        assert!(records[0].1.contains("InvalidObjectState"), "{records:?}");
    }
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);

    // The control object is no rejected record, and the next drop is read.
    let status = lake.operator(json!({ "dataset": "optouts", "action": "status" })).await.unwrap();
    assert_eq!(status.status.unwrap().inbox.unwrap().rejected, 3);
    lake.drop("e.csv", many(6..7));
    assert_eq!(lake.refresh().await.unwrap().applied, 1);

    // Sweep archives the drops that S3 serves. The others stay in the inbox, and the sweep succeeds.
    lake.advance(SignedDuration::from_hours(2));
    lake.drop("f.csv", many(7..8));
    lake.refresh().await.unwrap();
    lake.advance(SignedDuration::from_hours(2));
    lake.sweep().await;
    assert_eq!(lake.inbox(), ["b.csv", "c.parquet", "d.csv.gz"]);
}

#[tokio::test]
async fn function_that_may_not_read_the_inbox_sets_nothing_aside() {
    let lake = Lake::default();
    lake.drop("a.csv", many(0..3));
    lake.objects.refuse(INBOX);
    let refused = lake.refresh().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Config, "{refused:?}");
    assert!(lake.live().is_none() && lake.objects.keys().iter().all(|key| !key.contains("a.csv-")));
}

/// Returns a gzipped drop of invalid records.
fn bomb(records: usize) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"user_id,state,occurred_at\n").unwrap();
    gz.write_all("x,opted_out,2026-01-01T00:00:00Z\n".repeat(records).as_bytes()).unwrap();
    gz.finish().unwrap()
}

async fn refresh_with(lake: &Lake, ask: RefreshOptions) -> Result<optout::Refreshed> {
    let env = lake.env(lake.wire());
    let config = env.config().await.unwrap();
    let dataset = config.dataset("optouts").unwrap();
    let Source::Inbox(inbox) = &dataset.source else { panic!("{:?}", dataset.source) };
    optout::refresh(&env, dataset, inbox, &ask).await
}

#[tokio::test]
async fn rejects_count_as_records_so_each_refresh_publishes_what_it_has_read() {
    let lake = Lake::default();
    for number in 0..6 {
        lake.drop(&format!("{number}.csv.gz"), bomb(12_000));
    }
    lake.drop("z.csv", many(0..3));
    // Each drop has more rejects than are listed, and two of them reach the limit.
    let ask = || RefreshOptions { max_records: 24_000, ..RefreshOptions::default() };
    let done = refresh_with(&lake, ask()).await.unwrap();
    assert_eq!((done.outcome, done.drops, done.left), (Outcome::Committed, 7, 0));
    assert_eq!((done.rejected, lake.manifests().len()), (72_000, 4), "three rounds of two drops, and one of the last");
    assert_eq!(lake.table().len(), 3);
}

#[tokio::test]
async fn refresh_without_time_for_all_drops_makes_progress_each_time() {
    let lake = Lake::default();
    for number in 0..300 {
        lake.drop(&format!("{number:03}.csv"), "user_id,state,occurred_at\nx,opted_out,2026-01-01T00:00:00Z\n");
    }
    lake.drop("z.csv", many(0..3));
    // The lake's clock moves by a millisecond each time that somebody reads it.
    let mut refreshes = 0;
    loop {
        let ask = RefreshOptions { time: Some(SignedDuration::from_millis(200)), ..RefreshOptions::default() };
        let done = refresh_with(&lake, ask).await.unwrap();
        assert_eq!(done.outcome, Outcome::Committed);
        refreshes += 1;
        if done.left == 0 {
            break;
        }
        assert_eq!(done.reasons, [format!("{} drops are left for the next refresh", done.left)]);
        assert!(refreshes < 300);
    }
    assert!(refreshes > 2, "{refreshes}");
    assert_eq!((lake.table().len(), lake.consumed().len()), (3, 301));
}

#[tokio::test]
async fn quota_leaves_the_rest_to_the_next_refresh() {
    let lake = Lake::with("quota = { drops = 4 }");
    for number in 0..10_i64 {
        lake.drop(&format!("{number}.csv"), many(number..number + 1));
    }
    let of = async || {
        let done = lake.refresh().await.unwrap();
        (done.outcome, done.drops, lake.table().len(), done.reasons)
    };
    assert_eq!(of().await, (Outcome::Committed, 4, 4, vec!["6 drops are left for the next refresh".to_owned()]));
    assert_eq!(of().await, (Outcome::Committed, 4, 8, vec!["2 drops are left for the next refresh".to_owned()]));
    assert_eq!(of().await, (Outcome::Committed, 2, 10, vec![]));

    let lake = Lake::with("quota = { mb = 1 }");
    for number in 0..3_i64 {
        let padding = " ".repeat(700 << 10);
        lake.drop(&format!("{number}.csv"), format!("{}\n{padding}\n", many(number..number + 1)));
    }
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.drops), (Outcome::Committed, 2));
}

/// Returns a CSV drop that gives these people the state.
fn say(ids: std::ops::Range<i64>, state: &str, day: u32) -> String {
    let lines: String = ids.map(|id| format!("{id},{state},2026-02-{day:02}T00:00:00Z\n")).collect();
    format!("user_id,state,occurred_at\n{lines}")
}

#[tokio::test]
async fn inbox_accepts_only_the_states_of_a_drops_prefix() {
    let lake = Lake::with("accepts = { \"\" = [\"opted_out\", \"withdrawn\"], \"app/\" = [\"opted_in\"] }");
    lake.drop("a.csv", say(0..4, "opted_out", 1));
    lake.drop("b.csv", say(0..1, "opted_in", 2));
    lake.drop("app/c.csv", say(1..2, "opted_in", 2));
    lake.drop("app/d.csv", say(2..3, "withdrawn", 2));
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.rejected, done.returning), (2, 0));
    let states: Vec<Out> = lake.table().into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, [Out::OptedOut, Out::OptedIn, Out::OptedOut, Out::OptedOut]);
    let reason = "state is not one that the inbox accepts from this drop".to_owned();
    let expected =
        [("app/d.csv".to_owned(), vec![(Some(2), reason.clone())]), ("b.csv".to_owned(), vec![(Some(2), reason)])];
    assert_eq!(lake.rejected(), expected);

    // The rows of the live table keep their states, even if they have to be read as records.
    lake.configure("accepts = [\"withdrawn\"], buckets = 8, normalize = []");
    lake.drop("e.csv", say(1..2, "opted_in", 3));
    assert_eq!(lake.refresh().await.unwrap().rejected, 1);
    assert_eq!(lake.table()[1].1, Out::OptedIn);
}

async fn conditions(lake: &Lake) -> Vec<Value> {
    let status = turntable::flip::status_of_all(&lake.env(lake.wire())).await.unwrap();
    let conditions = serde_json::to_value(&status).unwrap()["conditions"].clone();
    conditions.as_array().unwrap().clone()
}

async fn allow(lake: &Lake, people: u64) -> OptedOut {
    let request = json!({ "dataset": "optouts", "max_returning": people });
    match lake.handle(lake.wire(), request).await.unwrap() {
        Answer::One(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// Somebody puts more objects into the inbox than a refresh lists.
#[tokio::test]
async fn an_inbox_without_end_is_listed_only_as_far_as_it_is_read() {
    let fill = |lake: &Lake| {
        for at in 0..10_050 {
            lake.drop(&format!("a{at:05}.csv"), many(at..at + 1));
        }
    };
    let lake = Lake::with("quota = { drops = 2 }");
    lake.drop("z.csv", many(20_000..20_001));
    lake.refresh().await.unwrap();
    fill(&lake);
    for left in [9_998, 9_996] {
        let done = refresh_with(&lake, RefreshOptions::default()).await.unwrap();
        assert_eq!((done.outcome, done.drops, done.left, done.unlisted), (Outcome::Committed, 2, left, true));
        assert_eq!(done.reasons, [format!("more than {left} drops are left for the next refresh")]);
        let manifest = format!("s3://lake/schemas/optouts/_manifests/{}.json", lake.live().unwrap());
        let consumed = String::from_utf8(lake.objects.body(&manifest).unwrap().to_vec()).unwrap();
        assert!(consumed.contains("\"z.csv\""), "what wasn't listed isn't forgotten: {consumed}");
    }

    let lake = Lake::with("quota = { drops = 10000 }");
    fill(&lake);
    let first = refresh_with(&lake, RefreshOptions::default()).await.unwrap();
    assert_eq!((first.drops, first.left, first.unlisted), (10_000, 0, true));
    // What was read is still there, but the listing goes beyond it.
    let rest = refresh_with(&lake, RefreshOptions::default()).await.unwrap();
    assert_eq!((rest.drops, rest.left, rest.unlisted), (50, 0, false));
    assert_eq!(lake.table().len(), 10_050);
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);
}

#[tokio::test]
async fn people_beyond_the_bound_come_back_only_with_an_operator() {
    let lake = Lake::with("max_returning = 2");
    lake.drop("a.csv", many(0..10));
    lake.refresh().await.unwrap();
    lake.drop("b.csv", say(0..2, "opted_in", 1));
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.returning, done.held_back), (Outcome::Committed, 2, 0));

    // Two drops bring back five people. The opt-out beside them doesn't wait.
    lake.drop("c.csv", say(2..4, "opted_in", 1));
    lake.drop("d.csv", say(4..7, "opted_in", 1));
    lake.drop("e.csv", many(20..21));
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.drops, done.returning, done.held_back), (Outcome::Committed, 1, 0, 5));
    assert!(done.reasons[0].contains("{\"dataset\":\"optouts\",\"max_returning\":5}"), "{:?}", done.reasons);
    let out = || lake.table().into_iter().filter(|(_, state, _)| *state == Out::OptedOut).count();
    assert_eq!(out(), 9);
    let generations = lake.manifests().len();
    let again = lake.refresh().await.unwrap();
    assert_eq!((again.outcome, again.held_back), (Outcome::Held, 5));
    assert_eq!(lake.manifests().len(), generations, "nothing is published again and again");

    let told = conditions(&lake).await;
    assert_eq!((told.len(), &told[0]["id"]), (1, &json!("returning:optouts")), "{told:?}");
    assert_eq!(told[0]["runbook"], "docs/operate.md#people-would-come-back");
    assert!(told[0]["message"].as_str().unwrap().contains("bring back 5 people"), "{told:?}");

    // A number that is too small is refused with the right one.
    lake.drop("f.csv", say(7..8, "opted_in", 1));
    let refused = allow(&lake, 5).await;
    assert_eq!((refused.outcome, out()), (Outcome::Held, 9));
    assert!(refused.reasons[0].contains("would bring back 6 people"), "{:?}", refused.reasons);
    let done = allow(&lake, 6).await;
    assert_eq!((done.outcome, done.returning, done.drops), (Outcome::Committed, 6, 3));
    assert_eq!((out(), conditions(&lake).await), (3, vec![]));
    assert_eq!(lake.refresh().await.unwrap().outcome, Outcome::AlreadyLive);

    // The bound counts again from the next refresh on, and over all rounds of one.
    lake.drop("g.csv", say(8..10, "opted_in", 1));
    lake.drop("h.csv", say(20..21, "opted_in", 1));
    let done = refresh_with(&lake, RefreshOptions { max_records: 2, ..RefreshOptions::default() }).await.unwrap();
    assert_eq!((done.returning, done.held_back, out()), (2, 1, 1));
}

#[tokio::test]
async fn a_person_in_several_held_drops_is_counted_once() {
    let lake = Lake::with("max_returning = 2");
    lake.drop("a.csv", many(0..10));
    lake.refresh().await.unwrap();
    lake.drop("b.csv", say(0..4, "opted_in", 1));
    assert_eq!(lake.refresh().await.unwrap().held_back, 4);
    lake.drop("c.csv", say(1..6, "opted_in", 2));
    let again = lake.refresh().await.unwrap();
    assert_eq!((again.outcome, again.held_back), (Outcome::Held, 6));
    assert!(again.reasons[0].contains("2 drops would bring back 6 people"), "{:?}", again.reasons);
    let done = allow(&lake, 6).await;
    assert_eq!((done.outcome, done.returning, done.drops), (Outcome::Committed, 6, 2));
}

#[tokio::test]
async fn bound_holds_while_a_table_is_read_as_records() {
    let lake = Lake::default();
    let configure = |kind: &str| {
        lake.objects.put(
            "s3://lake/datasets.toml",
            format!(
                "[datasets.optouts]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\nschema = \"additive\"\n\
                 source = {{ inbox = {{ location = \"s3://lake/inbox/optouts\", key = [\"user_id\"], \
                 columns = {{ user_id = \"{kind}\" }}, max_returning = 1 }} }}\n"
            ),
        );
    };
    configure("int");
    lake.drop("a.csv", many(0..10));
    lake.refresh().await.unwrap();
    lake.drop("b.csv", say(0..5, "opted_in", 1));
    lake.drop("c.csv", many(10..11));
    // The buckets of another key type can't be merged in place.
    configure("bigint");
    let done = lake.refresh().await.unwrap();
    assert_eq!((done.outcome, done.returning, done.held_back), (Outcome::Committed, 0, 5));
    let table = lake.table();
    assert!(table.len() == 11 && table.iter().all(|(_, state, _)| *state == Out::OptedOut), "{table:?}");
}

/// Somebody who may write into the inbox may also be able to replace the record of what has been published from it.
#[tokio::test]
async fn forged_published_record_brings_nobody_back() {
    let lake = Lake::default();
    lake.drop("a.csv", many(0..3));
    lake.refresh().await.unwrap();
    // A generation of the partner's own, in a place where they may write.
    let live = lake.live().unwrap();
    for place in ["s3://lake/inbox/optouts/x", "s3://partner/x"] {
        let location = format!("{place}/{live}/");
        let record = json!({ "dataset": "optouts", "table": "dmp.optouts", "location": location, "rows": 1,
            "at": "2026-01-01T00:00:00Z" });
        lake.objects.put("s3://lake/inbox/optouts/_published.json", record.to_string());
        let refused = lake.refresh().await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Conflict);
        assert!(refused.message().contains(&format!("set adopt = \"{location}\"")), "{refused:?}");
    }
}

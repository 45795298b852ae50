//! A request retires a table that is no longer configured: it is kept, or it is dropped and swept. A dataset that comes
//! back continues with what is left.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tests::{
    optouts::{Lake, many},
    rig::Rig,
};
use turntable::{
    answer::Swept,
    error::{Kind, Result},
    layout::{Generation, TableName},
    publish::Outcome,
    record::OldTable,
    retired::{self, Retired},
};

use crate::optout::views::{name, put_table};

const FILE: &str = "s3://lake/datasets.toml";
const ORDERS: &str = "[datasets.orders]\nsource = { files = { location = \"s3://lake/orders/\" } }\n";

fn config(rig: &Rig) -> String {
    String::from_utf8(rig.objects.body(FILE).unwrap().to_vec()).unwrap()
}

fn configure(rig: &Rig, text: String) {
    rig.objects.put(FILE, text);
}

/// Publishes the dataset `users` twice, and then replaces it with another one in datasets.toml. Returns the rig, the
/// two generations, and the file's previous text.
async fn removed() -> (Rig, [Generation; 2], String) {
    let rig = Rig::with("");
    let mut generations = Vec::new();
    for rows in [3, 4] {
        rig.source(rows);
        let generation = rig.export().await;
        rig.deliver(&generation).await.unwrap();
        generations.push(generation);
    }
    let before = config(&rig);
    let (head, _) = before.split_once("[datasets.users]").unwrap();
    configure(&rig, format!("{head}{ORDERS}"));
    (rig, [generations[0], generations[1]], before)
}

fn request(table: &str) -> Value {
    json!({ "dataset": "users", "action": "retire", "table": table, "reason": "sold" })
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn record(rig: &Rig) -> Retired {
    serde_json::from_slice(&rig.objects.body(&retired::key(rig.paths.location()).to_string()).unwrap()).unwrap()
}

/// Returns the messages in `attention` about the old table.
async fn told(rig: &Rig) -> Vec<String> {
    rig.attention().await.into_iter().filter(|line| line.starts_with("dmp.users")).collect()
}

async fn sweep(rig: &Rig) -> Result<Swept> {
    // The other dataset has never been exported.
    rig.sweep().await
}

#[tokio::test]
async fn kept_table_stays_with_its_files_and_is_listed_no_more() {
    let (rig, [first, second], _) = removed().await;
    let listed = told(&rig).await;
    assert!(
        listed[0].contains(r#"{"dataset":"dmp.users","action":"retire","table":"keep","reason":"…"}"#),
        "{listed:?}"
    );
    let before = rig.catalog.get(&rig.table);
    let mut stays: Vec<String> = Vec::new();
    for _ in 0..2 {
        let answer = rig.ask(request("keep")).await.unwrap();
        assert_eq!((answer.outcome, answer.live), (Outcome::Retired, Some(second.to_string())));
        stays = answer.stays.into_iter().map(|one| one.at).collect();
    }
    assert_eq!(rig.catalog.get(&rig.table), before);
    let Retired { why, dataset, old_table, gone, .. } = record(&rig);
    assert_eq!((why.as_str(), dataset.as_str(), old_table, gone), ("sold", "users", OldTable::Keep, None));
    assert_eq!(told(&rig).await, [""; 0]);

    for _ in 0..3 {
        rig.advance(hours(24 * 40));
        sweep(&rig).await.unwrap();
    }
    assert_eq!((rig.live(), rig.files(&second).len()), (Some(second), 1));
    assert_eq!(rig.files(&first).len(), 0, "what nobody reads goes by the usual rules");
    // The answer names everything that is left.
    assert_eq!(stays.len(), 5, "{stays:?}");
    let left = rig.objects.keys().into_iter().filter(|key| key.contains("schemas/users"));
    for key in left {
        assert!(stays.iter().any(|known| key.starts_with(known.as_str())), "{key}: {stays:?}");
    }
}

#[tokio::test]
async fn dropped_table_is_swept_after_the_drain_and_a_repeated_request_is_done() {
    let (rig, [first, second], _) = removed().await;
    rig.objects.put("s3://lake/schemas/users/notes.txt", "x");
    let answer = rig.ask(request("drop")).await.unwrap();
    assert_eq!((answer.outcome, answer.live), (Outcome::Retired, None));
    let stays: Vec<&str> = answer.stays.iter().map(|one| one.at.as_str()).collect();
    assert_eq!(stays, ["s3://lake/schemas/users/_table.json", "s3://lake/_retired/schemas/users.json"]);
    assert_eq!((rig.catalog.get(&rig.table), told(&rig).await), (None, Vec::new()));

    let swept = sweep(&rig).await.unwrap();
    assert!(swept.kept.iter().any(|item| item.reason.starts_with("draining: the table was dropped at")), "{swept:?}");
    assert_eq!((rig.files(&first).len(), rig.files(&second).len()), (1, 1));
    rig.advance(hours(2));
    let swept = sweep(&rig).await.unwrap();
    assert!(swept.deleted.iter().any(|item| item.reason == "the table was retired"), "{swept:?}");
    let left: Vec<String> = rig.objects.keys().into_iter().filter(|key| key.contains("/users/")).collect();
    assert_eq!(left, ["s3://lake/schemas/users/_table.json", "s3://lake/schemas/users/notes.txt"]);
    for _ in 0..2 {
        assert_eq!(rig.ask(request("drop")).await.unwrap().outcome, Outcome::Retired);
        rig.advance(hours(30));
        sweep(&rig).await.unwrap();
    }
    let done = rig.ask(request("drop")).await.unwrap();
    assert!(done.reasons[0].ends_with("its files are deleted") && done.reasons[1].ends_with("sold"), "{done:?}");
}

#[tokio::test]
async fn dataset_that_comes_back_carries_on() {
    for (table, waits) in [("keep", 0), ("keep", 2), ("drop", 0), ("drop", 2), ("drop", 60)] {
        let (rig, [_, second], before) = removed().await;
        rig.ask(request(table)).await.unwrap();
        rig.advance(hours(waits));
        for _ in 0..2 {
            sweep(&rig).await.unwrap();
        }
        configure(&rig, before);
        rig.source(5);
        let third = rig.export().await;
        assert_eq!(rig.deliver(&third).await.unwrap().outcome, Outcome::Committed, "{table} {waits}");
        assert_eq!((rig.live(), rig.attention().await), (Some(third), Vec::new()), "{table} {waits}");
        if table == "keep" {
            assert_eq!(
                rig.ask(json!({ "dataset": "users", "action": "rollback" })).await.unwrap().live,
                Some(second.to_string())
            );
            rig.flip(&third).await.unwrap();
        }
        for _ in 0..3 {
            rig.advance(hours(24));
            sweep(&rig).await.unwrap();
        }
        assert_eq!((rig.live(), rig.files(&third).len()), (Some(third), 1));
        assert!(record(&rig).released, "{table} {waits}");
    }
}

#[tokio::test]
async fn folder_that_a_table_still_reads_is_not_swept() {
    let (rig, [first, _], _) = removed().await;
    let mut copy = tests::catalog::moved(&rig.catalog.get(&rig.table).unwrap(), &rig.paths.generation(&first));
    copy.name = "users_of_march".into();
    rig.catalog.put("dmp", copy);
    rig.ask(request("drop")).await.unwrap();
    for _ in 0..3 {
        rig.advance(hours(30));
        sweep(&rig).await.unwrap();
    }
    assert_eq!(rig.files(&first).len(), 1);
    rig.catalog.port().delete(&TableName { database: "dmp".into(), table: "users_of_march".into() }).await.unwrap();
    sweep(&rig).await.unwrap();
    assert_eq!(rig.files(&first).len(), 1, "the drain counts from the last reader");
    rig.advance(hours(2));
    sweep(&rig).await.unwrap();
    assert_eq!(rig.files(&first).len(), 0);
}

#[tokio::test]
async fn retire_is_refused_for_what_is_published_or_unknown() {
    let (rig, _, before) = removed().await;
    let refused = |named: &str| {
        let mut request = request("drop");
        request["dataset"] = named.into();
        rig.ask(request)
    };
    for named in ["orders", "dmp.orders"] {
        let error = refused(named).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.message().contains("remove the dataset from datasets.toml"), "{}", error.message());
    }
    for named in ["people", "dmp.people", "a.b.c"] {
        assert_eq!(refused(named).await.unwrap_err().kind(), Kind::Input, "{named}");
    }
    configure(&rig, before);
    assert_eq!(refused("users").await.unwrap_err().kind(), Kind::Config);
    assert!(rig.live().is_some());
}

#[tokio::test]
async fn table_that_was_dropped_by_hand_is_retired_too() {
    let (rig, [first, _], _) = removed().await;
    rig.catalog.port().delete(&rig.table).await.unwrap();
    assert_eq!(rig.ask(request("drop")).await.unwrap().outcome, Outcome::Retired);
    rig.advance(hours(2));
    sweep(&rig).await.unwrap();
    assert_eq!(rig.files(&first).len(), 0);
}

#[tokio::test]
async fn crash_at_any_call_of_a_retirement_is_made_good_by_the_same_request() {
    use tests::wire::wired;
    for effect in [false, true] {
        for at in 1.. {
            let (rig, [first, _], _) = removed().await;
            let wire = tests::optouts::Wire { dies: Some((at, effect)), ..Default::default() };
            let died = flip::handle(wired(&rig.env(), std::sync::Arc::new(wire)), request("drop")).await;
            // A sweep in between makes no difference.
            let _ = sweep(&rig).await;
            assert_eq!(rig.ask(request("drop")).await.unwrap().outcome, Outcome::Retired);
            assert_eq!(rig.catalog.get(&rig.table), None);
            rig.advance(hours(2));
            sweep(&rig).await.unwrap();
            rig.advance(hours(2));
            sweep(&rig).await.unwrap();
            assert_eq!(rig.files(&first).len(), 0, "call {at}");
            if died.is_ok() {
                assert!(at > 10, "{at}");
                break;
            }
        }
    }
}

/// Removes the lake's inbox from datasets.toml.
fn without_inbox(lake: &Lake) {
    lake.objects.put(
        FILE,
        "[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         source = { files = { location = \"s3://lake/in/\" } }\n",
    );
}

#[tokio::test]
async fn inbox_is_not_retired_while_a_view_leaves_people_out_by_it() {
    let lake = Lake::default();
    put_table(&lake, "dmp", "users", &[("id", "bigint")]);
    lake.configure_dataset(
        "protects = { users = \"id\" }\n[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
         source = { files = { location = \"s3://lake/in/\" } }\n",
    );
    lake.drop("a.csv", many(0..3));
    lake.schedule().await.unwrap();
    assert!(lake.catalog.get(&name("users_protected")).is_some());
    without_inbox(&lake);
    for table in ["keep", "drop"] {
        let request = json!({ "dataset": "optouts", "action": "retire", "table": table, "reason": "over" });
        let error = lake.operator(request).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.message().contains("dmp.users_protected uses the opt-outs in dmp.optouts to leave people out"));
        assert!(lake.live().is_some());
    }
    lake.catalog.port().delete(&name("users_protected")).await.unwrap();
    let request = json!({ "dataset": "optouts", "action": "retire", "table": "drop", "reason": "over" });
    assert_eq!(lake.operator(request).await.unwrap().outcome, Outcome::Retired);
    assert!(lake.live().is_none() && lake.catalog.get(&name("optouts_active")).is_none());
}

#[tokio::test]
async fn view_in_a_database_that_is_no_longer_configured_counts_too() {
    let lake = Lake::default();
    let users = |database: &str| {
        format!(
            "[datasets.{database}_users]\ndatabase = \"{database}\"\ntable = \"users\"\nlocation = \"s3://lake/{database}\"\n\
             source = {{ files = {{ location = \"s3://lake/in/\" }} }}\n"
        )
    };
    for database in ["dmp", "crm"] {
        put_table(&lake, database, "users", &[("id", "bigint")]);
    }
    lake.configure_dataset(&format!("protects = {{ crm_users = \"id\" }}\n{}{}", users("crm"), users("dmp")));
    // The record that Turntable writes when it publishes the table.
    let record = json!({ "database": "crm", "table": "users", "dataset": "crm_users" }).to_string();
    lake.objects.put("s3://lake/crm/users/_table.json", record);
    lake.drop("a.csv", many(0..3));
    lake.schedule().await.unwrap();
    let view = TableName { database: "crm".into(), table: "users_protected".into() };
    assert!(lake.catalog.get(&view).is_some());
    let another = users("dmp").replace("s3://lake/dmp", "s3://lake/crm");
    lake.objects.put(FILE, another.replace("dmp_users", "clients").replace("table = \"users\"\n", ""));
    let request = json!({ "dataset": "dmp.optouts", "action": "retire", "table": "drop", "reason": "over" });
    let error = lake.operator(request.clone()).await.unwrap_err();
    assert!(error.message().starts_with("crm.users_protected uses the opt-outs"), "{}", error.message());
    assert!(lake.live().is_some());
    lake.catalog.port().delete(&view).await.unwrap();
    assert_eq!(lake.operator(request).await.unwrap().outcome, Outcome::Retired);
}

#[tokio::test]
async fn kept_opt_out_table_keeps_every_generation_that_the_inbox_may_need() {
    let lake = Lake::default();
    lake.configure_dataset("retain = { generations = 0, drain = \"1h\" }\n");
    lake.drop("a.csv", many(0..3));
    lake.refresh().await.unwrap();
    lake.drop("b.csv", many(3..6));
    lake.refresh().await.unwrap();
    let files = || {
        let mut keys = lake.objects.keys();
        keys.retain(|key| key.starts_with("s3://lake/schemas/optouts/") && key.ends_with(".parquet"));
        keys
    };
    let before = files();
    assert!(before.len() > 1);
    without_inbox(&lake);
    let request = json!({ "dataset": "dmp.optouts", "action": "retire", "table": "keep", "reason": "over" });
    assert_eq!(lake.operator(request).await.unwrap().outcome, Outcome::Retired);
    for _ in 0..3 {
        lake.advance(hours(100));
        lake.sweep_all().await.unwrap();
    }
    assert_eq!(files(), before);
}

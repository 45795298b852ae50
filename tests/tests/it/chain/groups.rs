//! Groups: three tables of one PostgreSQL database are exported from one snapshot, and Athena sees them flip as one
//! run.

use std::time::Duration;

use serde_json::{Value, json};
use turntable::{
    group::{Flipping, Record},
    layout::{Generation, Location},
    publish::Outcome,
    record::to_json,
};

use super::{Chain, manifest_event, mysql, postgres::datasets, sql};

const MEMBERS: [&str; 3] = ["items", "orders", "users"];
const RECORD: &str = "schemas/_groups/core.json";

/// Every order has an item and a user with the same number.
const SCHEMA: &str = "CREATE TABLE users (id int); CREATE TABLE orders (id int); CREATE TABLE items (id int);";
const ORDER: &str = "INSERT INTO users SELECT count(*) FROM users; INSERT INTO orders SELECT count(*) FROM orders; \
                     INSERT INTO items SELECT count(*) FROM items;";

fn entries(url: &str, more: &str) -> String {
    datasets(url, "public", &MEMBERS).replace("source", &format!("group = \"core\"\n{more}source"))
}

async fn record(chain: &Chain) -> Record {
    serde_json::from_slice(&chain.get(RECORD).await.unwrap()).unwrap()
}

/// Returns the live location of each member's table.
async fn live(chain: &Chain) -> Vec<Option<Location>> {
    futures::future::join_all(MEMBERS.iter().map(|table| chain.live(table))).await
}

fn generations(exported: &Value) -> Vec<Generation> {
    let members = exported["group"]["members"].as_array().unwrap_or_else(|| panic!("{exported}"));
    members.iter().map(|member| member["generation"].as_str().unwrap().parse().unwrap()).collect()
}

fn locations(chain: &Chain, generations: &[Generation]) -> Vec<Option<Location>> {
    MEMBERS.iter().zip(generations).map(|(table, it)| Some(chain.paths(table).generation(it))).collect()
}

async fn is_live(chain: &Chain, generations: &[Generation]) {
    let expected = locations(chain, generations);
    let found = async || (live(chain).await == expected).then_some(());
    chain.until(&format!("{expected:?}"), found).await;
    let named = async || {
        let record = record(chain).await;
        let named: Vec<_> = record.live?.tables.into_values().map(|member| Some(member.location)).collect();
        (record.flipping.is_none() && named == expected).then_some(())
    };
    chain.until("the record of it", named).await;
}

/// Waits until `flip` has answered the event for the run's last manifest with this outcome.
async fn answered(chain: &Chain, last: &Generation, outcome: Outcome) {
    let is = |line: &Value| line["candidate"] == last.to_string() && line["outcome"] == format!("{outcome:?}");
    chain.until(&format!("{outcome:?}"), async || chain.lines("flip", "flip").await.into_iter().find(is)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_group_flip_together() {
    let server = sql::start().await;
    let url = server.url();
    sql::run(&url, &format!("{SCHEMA} {ORDER} {ORDER}")).await;
    let chain = Chain::start(&entries(&url, "on_drift = \"repair\"\nchecks = { max_shrink = 0.0 }\n")).await;

    // A good run, as the schedule starts it: one message for all three tables.
    let queued = chain.ask("export", &json!({})).await;
    assert_eq!(queued["queued"], json!(["items"]));
    for table in MEMBERS {
        chain.next(table, None).await;
    }
    // Orders keep coming in, in transactions on all three tables.
    let orders = tokio::spawn({
        let url = url.clone();
        async move {
            loop {
                sql::run(&url, &format!("BEGIN; {ORDER} COMMIT;")).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let request = json!({ "dataset": "orders" });
    let exported = chain.ask("export", &request).await;
    orders.abort();
    let members = exported["group"]["members"].as_array().unwrap();
    assert_eq!((exported["dataset"].as_str(), members.len()), (Some("orders"), 3));
    for field in ["as_of", "rows"] {
        assert!(members.iter().all(|member| member[field] == exported[field]), "one snapshot: {exported}");
    }
    let first = generations(&exported);
    is_live(&chain, &first).await;
    let line = chain.lines("flip", "flip").await.into_iter().rev().find(|line| line["between_ms"].is_u64());
    println!("{} ms between the flips of three tables, at the most", line.unwrap()["between_ms"]);
    for early in 0..2 {
        let waits = chain.ask("flip", &manifest_event(&chain.paths(MEMBERS[early]), &first[early])).await;
        assert_eq!(waits["outcome"], "waiting");
    }

    // A rejected member stops the whole group.
    sql::run(&url, "DELETE FROM orders").await;
    let rejected = generations(&chain.ask("export", &request).await);
    answered(&chain, &rejected[2], Outcome::Rejected).await;
    is_live(&chain, &first).await;
    sql::run(&url, "INSERT INTO orders SELECT id FROM users").await;
    // An unreadable member stops the group too, although the other members are written first.
    let manifests = async || {
        let keys = chain.keys("schemas/").await;
        keys.into_iter().filter(|key| key.contains("/_manifests/")).collect::<Vec<_>>()
    };
    let before = manifests().await;
    sql::run(&url, "ALTER TABLE users RENAME TO people").await;
    let refused = chain.answer("export", &request).await.unwrap_err();
    assert!(refused.error_message.contains("rejected the query"), "{refused}");
    assert_eq!(manifests().await, before);
    sql::run(&url, "ALTER TABLE people RENAME TO users").await;

    // Of two concurrent exports, the fresher goes live as a whole.
    let (one, other) = tokio::join!(chain.ask("export", &request), chain.ask("export", &request));
    let as_of = |exported: &Value| exported["as_of"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let fresher = generations(if as_of(&one) > as_of(&other) { &one } else { &other });
    is_live(&chain, &fresher).await;

    // A rollback of one member rolls all members back.
    let back = chain.ask("flip", &json!({ "dataset": "users", "action": "rollback", "reason": "wrong" })).await;
    assert_eq!(back["outcome"], "swapped", "{back}");
    let now = live(&chain).await;
    assert!(now.iter().zip(locations(&chain, &fresher)).all(|(now, then)| *now != then), "{now:?}");
    let status = chain.ask("flip", &json!({ "dataset": "items", "action": "status" })).await;
    assert_eq!(status["group"]["record"]["live"]["why"], "wrong");

    // If files of one member are lost, all members go back.
    let whole = generations(&chain.ask("export", &request).await);
    is_live(&chain, &whole).await;
    let damaged = generations(&chain.ask("export", &request).await);
    is_live(&chain, &damaged).await;
    let files = chain.paths("orders").generation(&damaged[1]);
    for key in chain.keys(&files.prefix).await {
        chain.s3.delete_object().bucket(&chain.bucket).key(&key).send().await.unwrap();
    }
    chain.ask("sweep", &json!({})).await;
    is_live(&chain, &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_mariadb_that_belong_together_are_of_one_snapshot() {
    let prepare = "CREATE DATABASE chain_groups; USE chain_groups;";
    let server =
        mysql::start(move |server| drop(server.run(&format!("{prepare} {}", SCHEMA.replace("int", "bigint"))))).await;
    let entries = mysql::datasets(server, "chain_groups", &MEMBERS).replace("source", "group = \"core\"\nsource");
    let chain = Chain::start(&entries).await;
    let orders = tokio::spawn(async {
        loop {
            mysql::run(server, &format!("USE chain_groups; BEGIN; {ORDER} COMMIT;")).await;
        }
    });
    for _ in 0..3 {
        let exported = chain.ask("export", &json!({ "dataset": "users" })).await;
        let members = exported["group"]["members"].as_array().unwrap();
        for field in ["as_of", "rows"] {
            assert!(members.iter().all(|member| member[field] == exported[field]), "one snapshot: {exported}");
        }
        is_live(&chain, &generations(&exported)).await;
    }
    orders.abort();
}

/// `flip` has died after the first of three `UpdateTable`s. The redelivered event finishes that run's flip, or the next
/// run's event does.
#[tokio::test(flavor = "multi_thread")]
async fn a_flip_that_died_between_two_tables_is_finished() {
    let server = sql::start().await;
    let url = server.url();
    sql::run(&url, &format!("{SCHEMA} {ORDER}")).await;
    let chain = Chain::start(&entries(&url, "")).await;
    let request = json!({ "dataset": "users" });
    let old = generations(&chain.ask("export", &request).await);
    is_live(&chain, &old).await;

    for by_next_run in [false, true] {
        let before = live(&chain).await;
        let hold = json!({ "dataset": "items", "action": "hold", "reason": "the test dies by itself" });
        assert_eq!(chain.ask("flip", &hold).await["outcome"], "held");
        let run = generations(&chain.ask("export", &request).await);
        answered(&chain, &run[2], Outcome::Held).await;
        assert_eq!(live(&chain).await, before);
        let release = json!({ "dataset": "items", "action": "release" });
        chain.ask("flip", &release).await;
        died_midway(&chain, &run).await;
        assert_ne!(live(&chain).await, before);

        let status = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
        assert!(status["reasons"][0].as_str().unwrap().contains("is going forward"), "{status}");
        if by_next_run {
            let next = generations(&chain.ask("export", &request).await);
            is_live(&chain, &next).await;
            assert_eq!(record(&chain).await.past[0].set.tables["users"].generation, run[2]);
        } else {
            let answer = chain.ask("flip", &manifest_event(&chain.paths("users"), &run[2])).await;
            assert_eq!(answer["outcome"], "swapped", "{answer}");
            is_live(&chain, &run).await;
        }
    }
}

/// Simulates a `flip` that died after its first `UpdateTable`: writes the group's record with the flip in flight, and
/// moves one table.
async fn died_midway(chain: &Chain, run: &[Generation]) {
    let found = record(chain).await;
    let mut to = found.live.clone().unwrap();
    let from = to.tables.iter().map(|(name, member)| (name.clone(), Some(member.location.clone()))).collect();
    let key = chain.paths("users").manifest(&run[2]).key;
    let manifest: turntable::manifest::Manifest = serde_json::from_slice(&chain.get(&key).await.unwrap()).unwrap();
    to.run = manifest.group.unwrap().run;
    to.as_of = manifest.as_of;
    for ((name, member), generation) in to.tables.iter_mut().zip(run) {
        (member.generation, member.location) = (*generation, chain.paths(name).generation(generation));
    }
    let first = to.tables["items"].location.to_string();
    let flipping = Some(Flipping { to, from, back: None });
    let midway = Record { serial: found.serial + 1, flipping, hold: None, ..found };
    chain.put(RECORD, to_json(&midway)).await.unwrap();

    let table = chain.table("items").await.unwrap();
    let mut input = turntable::aws::glue::unchanged(&table);
    input.storage_descriptor.as_mut().unwrap().location = Some(first);
    let update = chain.glue.update_table().database_name("dmp").table_input(input).skip_archive(true);
    update.version_id(table.version_id().unwrap()).send().await.unwrap();
}

/// Measures how long the members of a group are on different runs while they flip. The environment variable `GROUP`
/// sets the number of members (default 3): `GROUP=30 cargo test --workspace --test it chain::groups::between_the_flips
/// -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn between_the_flips() {
    let tables: usize = std::env::var("GROUP").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let names: Vec<String> = (0..tables).map(|number| format!("t{number:03}")).collect();
    let server = sql::start().await;
    let url = server.url();
    for name in &names {
        sql::run(&url, &format!("CREATE TABLE {name} AS SELECT 1 AS id")).await;
    }
    let chain = Chain::start(&datasets(&url, "public", &names).replace("source", "group = \"core\"\nsource")).await;
    for run in 1..=5 {
        let exported = chain.ask("export", &json!({ "dataset": names[0] })).await;
        let last = exported["group"]["members"][tables - 1]["generation"].clone();
        let swapped = |line: &Value| line["candidate"] == last && line["outcome"] == "Swapped";
        let line = chain.until("the run", async || chain.lines("flip", "flip").await.into_iter().find(swapped)).await;
        println!("{tables} tables, run {run}: {} ms, of {} s of the flip", line["between_ms"], line["seconds"]);
    }
}

//! Rare cases: old leftovers, which sweep deletes, and drifted tables, which sweep and optout repair.

use aws_sdk_glue::types::{StorageDescriptor, TableInput};
use serde_json::json;
use turntable::{
    layout::{Generation, Location},
    record::{self, Pending, Work},
};

use super::{
    Chain, USERS,
    optout::{self, OPTOUTS, OUT},
    users,
};

/// A ULID from November 2024.
const LONG_AGO: &str = "01JD675EJRSSKNZWWST95906C6";

#[tokio::test(flavor = "multi_thread")]
async fn old_leftovers_are_deleted_and_drift_is_repaired() {
    let chain = optout::start(&format!("{USERS}on_drift = \"repair\"\n{OPTOUTS}")).await;
    let mut went = Vec::new();
    for day in 1..=2 {
        chain.put("source/users/users.csv", users(100, day)).await.unwrap();
        chain.ask("export", &json!({ "dataset": "users" })).await;
        went.push(chain.next("users", chain.live("users").await.as_ref()).await);
    }
    let (blue, green) = (went[0], went[1]);
    let paths = chain.paths("users");
    chain.until("two records", async || (chain.keys(&paths.flips().prefix).await.len() == 2).then_some(())).await;

    let left = leave(&chain, &green).await;
    moves(&chain, "users", &paths.generation(&blue)).await;
    let swept = chain.ask("sweep", &json!({})).await;
    assert!(swept.to_string().contains("; repaired"), "{swept}");
    assert_eq!(chain.live("users").await, Some(paths.generation(&green)));
    // The next sweep deletes whatever the sweep that repaired the table has left.
    chain.ask("sweep", &json!({})).await;
    let keys = chain.keys("schemas/users/").await;
    assert!(left.iter().all(|key| !keys.contains(key)), "{keys:?}");
    assert!(chain.table(&audit_table()).await.is_none());

    chain.glue.delete_table().database_name("dmp").name("users").send().await.unwrap();
    let swept = chain.ask("sweep", &json!({})).await;
    assert!(swept.to_string().contains("; repaired"), "{swept}");
    assert_eq!(chain.live("users").await, Some(paths.generation(&green)));

    chain.drop("first.csv", "7,opted_out,2026-01-01T00:00:00Z\n").await;
    let first = chain.next("optouts", None).await;
    chain.drop("second.csv", "8,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(OUT, 2).await;
    let paths = chain.paths("optouts");
    chain.until("two records", async || (chain.keys(&paths.flips().prefix).await.len() == 2).then_some(())).await;
    moves(&chain, "optouts", &paths.generation(&first)).await;
    assert_eq!(chain.number(OUT).await, 1);
    chain.drop("third.csv", "9,opted_out,2026-01-01T00:00:00Z\n").await;
    chain.until_number(OUT, 3).await;
}

/// Moves the table as Terraform does with an outdated state.
async fn moves(chain: &Chain, table: &str, to: &Location) {
    let input = tests::catalog::moved(&chain.table(table).await.unwrap(), to);
    chain.glue.update_table().database_name("dmp").table_input(input).send().await.unwrap();
    assert_eq!(chain.live(table).await.as_ref(), Some(to));
}

fn audit_table() -> String {
    format!("turntable_audit_users_{}", LONG_AGO.to_lowercase())
}

/// Leaves behind an audit table, a flip record, a revert intent, and the record of the engine run that built this
/// generation. Returns the keys of the last three.
async fn leave(chain: &Chain, built: &Generation) -> [String; 3] {
    let paths = chain.paths("users");
    let storage = StorageDescriptor::builder().location(paths.generation(built).to_string()).build();
    let table = TableInput::builder()
        .name(audit_table())
        .storage_descriptor(storage)
        .parameters(turntable::table::AUDIT_PARAMETER, "x");
    chain.glue.create_table().database_name("dmp").table_input(table.build().unwrap()).send().await.unwrap();

    let pending = Pending {
        dataset: "users".into(),
        generation: *built,
        location: paths.generation(built),
        base: None,
        as_of: "2024-11-21T00:00:00Z".parse().unwrap(),
        spec: String::new(),
        work: Work::Athena { workgroup: "etl".into(), database: "dmp".into(), sql: "UNLOAD".into() },
        folders: Vec::new(),
        until: "2024-11-21T01:00:00Z".parse().unwrap(),
        inputs: Default::default(),
        run: None,
    };
    let flip = chain.get(&chain.keys(&paths.flips().prefix).await[0]).await.unwrap();
    let ulid = LONG_AGO.parse().unwrap();
    let records = [
        (paths.pending(built).key, record::to_json(&pending)),
        (paths.flip(ulid).key, flip),
        (paths.revert_intent(ulid).key, b"{}".to_vec()),
    ];
    for (key, body) in &records {
        chain.put(key, body.clone()).await.unwrap();
    }
    records.map(|(key, _)| key)
}

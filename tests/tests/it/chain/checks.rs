//! The checks on Athena before a flip, the canary after it, and the objects that sweep deletes from S3.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};

use super::{Chain, USERS, generation, users};

/// Deploys a stack and makes its dataset `users` live with 500 rows. `more` is added to the dataset's entry. Returns
/// the stack and the export's answer.
async fn live(more: &str) -> (Chain, Value) {
    let chain = Chain::start(&format!("{USERS}{more}")).await;
    chain.put("source/users/users.csv", users(500, 1)).await.unwrap();
    let exported = chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;
    (chain, exported)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_fails_on_athena_never_goes_live_and_all_reasons_are_listed() {
    let good = "checks = { unique = [\"id\"], sql = [\"SELECT count(*) = 500 FROM {table}\"], not_null = [\"id\"] }\n";
    let (chain, first) = live(good).await;
    let bad = "checks = { unique = [\"name\"], sql = [\"SELECT count(*) = 0 FROM {table}\"], range = { id = { min = 1000 } } }\n";
    chain.datasets(&format!("{USERS}{bad}")).await;
    chain.put("source/users/users.csv", users(500, 1).replace("u1,", "u2,")).await.unwrap();
    let second = chain.ask("export", &json!({ "dataset": "users" })).await;
    let request = json!({ "dataset": "users", "generation": second["generation"] });
    let refused = chain.answer("flip", &request).await.unwrap_err();
    assert_eq!(refused.error_type, "Rejected");
    let (before, reasons) = refused.error_message.split_once("stays live: ").unwrap();
    assert_eq!(before, format!("users: the candidate was rejected, and {} ", first["generation"].as_str().unwrap()));
    for reason in [
        "range: id: expected 1000 or more, found smaller values in part-00000.parquet",
        "sql: SELECT count(*) = 0 FROM {table}: expected true, found false",
    ] {
        assert!(reasons.contains(reason), "{reasons}");
    }
    assert_eq!(chain.live("users").await, Some(first["location"].as_str().unwrap().parse().unwrap()));
    no_audit_table_is_left(&chain).await;
    queries_ran_with_the_role_for_checks();
}

/// Checks that `flip`, as it is built now, ran its queries with the role for checks and none with its own role.
fn queries_ran_with_the_role_for_checks() {
    let calls = Path::new(env!("CARGO_TARGET_TMPDIR")).join("calls");
    let newest = |caller: &str| {
        let files = fs::read_dir(&calls).unwrap().map(|entry| entry.unwrap());
        let files = files.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{caller}.")));
        let newest = files.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap());
        fs::read_to_string(newest.unwrap_or_else(|| panic!("no calls of {caller}")).path()).unwrap()
    };
    let (flip, checks) = (newest("flip"), newest("checks"));
    assert!(checks.contains("athena:StartQueryExecution") && !checks.contains("glue:"), "{checks}");
    assert!(flip.contains("sts:AssumeRole") && !flip.contains("athena:"), "{flip}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_canary_rolls_the_table_back_on_the_chain() {
    let (chain, first) = live("").await;
    chain.datasets(&format!("{USERS}checks = {{ canary = \"SELECT count(*) = 500 FROM {{table}}\" }}\n")).await;
    chain.put("source/users/users.csv", users(501, 2)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    let paths = chain.paths("users");
    // Waits for three records: the first flip, the second, and the flip back.
    chain.until("the way back", async || (chain.keys(&paths.flips().prefix).await.len() == 3).then_some(())).await;
    assert_eq!(chain.live("users").await, Some(first["location"].as_str().unwrap().parse().unwrap()));
    let status = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
    assert_eq!((&status["last_flip"]["by"], &status["live"]), (&json!("canary"), &first["generation"]), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_deletes_what_was_replaced_and_nothing_else() {
    let retain = "retain = { generations = 0, drain = \"0s\" }\n";
    let (chain, first) = live(retain).await;
    let first = generation(&first);
    let paths = chain.paths("users");
    chain.put("source/users/users.csv", users(510, 2)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    let second = chain.next("users", Some(&paths.generation(&first))).await;
    // A flip writes its record only after it has moved the table.
    chain.until("two records", async || (chain.keys(&paths.flips().prefix).await.len() == 2).then_some(())).await;
    chain.put("schemas/users/by-hand/notes.txt", "not ours").await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;

    let planned = chain.ask("sweep", &json!({ "dataset": "users", "dry_run": true })).await;
    assert_eq!(planned["deleted"][0]["location"], paths.generation(&first).to_string(), "{planned}");
    assert_eq!(chain.keys(&paths.generation(&first).prefix).await.len(), 1);
    let swept = chain.ask("sweep", &json!({})).await;
    assert_eq!(swept["deleted"].as_array().map(Vec::len), Some(1), "{swept}");
    assert!(chain.keys(&paths.generation(&first).prefix).await.is_empty());
    let left = [paths.generation(&second).key("part-00000.parquet").key, paths.manifest(&second).key];
    let keys = chain.keys("schemas/users/").await;
    assert!(left.iter().all(|key| keys.contains(key)) && !keys.contains(&paths.manifest(&first).key), "{keys:?}");
    assert!(keys.contains(&"schemas/users/by-hand/notes.txt".to_owned()), "{keys:?}");
}

/// The manifest's event triggers another audit of the candidate, so an audit table may exist for a moment longer.
async fn no_audit_table_is_left(chain: &Chain) {
    chain
        .until("no audit table", async || {
            let tables = chain.glue.get_tables().database_name("dmp").send().await.unwrap();
            let names: Vec<&str> = tables.table_list().iter().map(|table| table.name()).collect();
            (names == ["users"]).then_some(())
        })
        .await;
}

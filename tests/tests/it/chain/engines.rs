//! Athena and Glue as engines on the real chain: UNLOAD on the Athena endpoint, PySpark for the Glue job, and both
//! engines' events over the event bus.

use std::{path::Path, process::Stdio};

use local::engines::{create_job, create_managed_workgroup, create_workgroup, put_script};
use serde_json::{Value, json};
use tests::{mariadb::Mariadb, postgres::Postgres};
use turntable::layout::Generation;

use super::{Chain, USERS, emulator, generation, manifest_event, users};

const YOUNG: &str = r#"
[datasets.joined]
checks = { min_rows = 100, not_null = ["id"] }
source = { athena = { workgroup = "etl", partition_by = ["month"], query = """
SELECT id AS "Id", name, CAST(joined AS timestamp) AS joined_at, month(joined) AS month FROM dmp.users;
""" } }
"#;

async fn chain(datasets: &str, parameters: &[(&str, &str)]) -> Chain {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let chain = Chain::deploy(datasets, |deployment| deployment.parameters = parameters).await;
    create_workgroup(&chain, "etl").await.unwrap();
    chain
}

/// Exports `users` with `rows` rows, and waits until they are live.
async fn with_users(chain: &Chain, rows: u64) {
    chain.put("source/users/users.csv", users(rows, 1)).await.unwrap();
    chain.ask("export", &json!({ "dataset": "users" })).await;
    chain.next("users", None).await;
}

/// In a workgroup with managed query results, Athena refuses a query that names a location for its result.
#[tokio::test(flavor = "multi_thread")]
async fn workgroups_with_managed_query_results_work() {
    let checks =
        "checks = { sql = [\"SELECT count(*) > 0 FROM {table}\"], canary = \"SELECT count(*) > 0 FROM {table}\" }\n";
    let parameters = [("EngineWorkgroups", "managed"), ("AthenaWorkgroup", "managed")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let datasets = format!("{USERS}{checks}{}", YOUNG.replace("workgroup = \"etl\"", "workgroup = \"managed\""));
    let chain = Chain::deploy(&datasets, |deployment| deployment.parameters = parameters).await;
    create_managed_workgroup(&chain, "managed").await.unwrap();
    with_users(&chain, 1200).await;
    let started = chain.ask("export", &json!({ "dataset": "joined" })).await;
    assert_eq!(chain.next("joined", None).await, generation(&started));
    assert_eq!(chain.keys("_athena/").await, Vec::<String>::new());
    let passed = async || {
        let status = chain.ask("flip", &json!({ "dataset": "users", "action": "status" })).await;
        (status["last_flip"]["canary"] == "passed").then_some(())
    };
    chain.until("the canary", passed).await;
}

fn cells(row: Vec<Option<String>>) -> Vec<String> {
    row.into_iter().map(Option::unwrap_or_default).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_unloaded_and_goes_live_by_events_alone() {
    let chain = chain(&format!("{USERS}{YOUNG}"), &[("EngineWorkgroups", "etl")]).await;
    with_users(&chain, 1200).await;
    let mut before = None;
    for _ in 0..2 {
        let started = chain.ask("export", &json!({ "dataset": "joined" })).await;
        assert_eq!(started["outcome"], "started", "{started}");
        let next = chain.next("joined", before.as_ref()).await;
        assert_eq!(next, generation(&started));
        before = chain.live("joined").await;
        // Delivers the event again, late.
        let event = ended(started["run"].as_str().unwrap());
        assert_eq!(chain.ask("export", &event).await["outcome"], "nothing");
    }
    let table = chain.table("joined").await.unwrap();
    let columns: Vec<String> =
        tests::catalog::columns(&table).iter().map(|c| format!("{} {}", c.name, c.glue_type)).collect();
    assert_eq!(columns, ["id bigint", "name string", "joined_at timestamp"]);
    let key = &table.partition_keys()[0];
    assert_eq!((key.name(), key.r#type()), ("month", Some("bigint")));
    let found = chain.query("SELECT count(*), count(DISTINCT month), min(id), max(id) FROM dmp.joined").await;
    assert_eq!(cells(found), ["1200", "12", "1", "1200"]);
    let found = chain.query("SELECT count(*) FROM dmp.joined WHERE month = 2").await;
    assert_eq!(cells(found), ["100"]);
}

/// Returns the event in events/export-athena.json, but about the query `run`.
fn ended(run: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../../../events/export-athena.json")).unwrap();
    event["detail"]["queryExecutionId"] = run.into();
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_says_why_once_and_a_good_one_goes_live_after_it() {
    let broken = YOUNG
        .replace("SELECT id AS \"Id\"", "SELECT CAST(name AS bigint) AS id")
        .replace("partition_by = [\"month\"], ", "");
    let chain = chain(&format!("{USERS}{broken}"), &[("EngineWorkgroups", "etl")]).await;
    with_users(&chain, 120).await;
    let started = chain.ask("export", &json!({ "dataset": "joined" })).await;
    let line = chain.until("the failure", async || chain.lines("export", "engine failed").await.pop()).await;
    let run = started["run"].as_str().unwrap();
    assert_eq!((line["kind"].as_str(), line["run"].as_str()), (Some("Input"), Some(run)));
    assert_eq!(
        line["error"],
        format!("Athena query {run} failed with INVALID_CAST_ARGUMENT: correct the query or the data that it reads"),
        "no value of a row"
    );
    let metric = async || {
        let lines = chain.logs("export", 0).await.unwrap();
        lines.into_iter().filter(|line| line["EngineFailed"] == 1.0).count()
    };
    assert_eq!(metric().await, 1);
    assert_eq!(chain.ask("export", &ended(run)).await["outcome"], "nothing");
    assert_eq!((metric().await, chain.lines("export", "engine failed").await.len()), (1, 1));

    chain.datasets(&format!("{USERS}{YOUNG}")).await;
    let started = chain.ask("export", &json!({ "dataset": "joined" })).await;
    assert_eq!(chain.next("joined", None).await, generation(&started));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_event_never_comes_is_settled_by_sweep() {
    // The rule matches another workgroup, so the event never arrives.
    let chain = chain(&format!("{USERS}{YOUNG}"), &[("EngineWorkgroups", "elsewhere")]).await;
    with_users(&chain, 120).await;
    let started = chain.ask("export", &json!({ "dataset": "joined" })).await;
    let of: Generation = generation(&started);
    let files = format!("schemas/joined/{of}/");
    chain.until("the files", async || (chain.keys(&files).await.len() == 12).then_some(())).await;
    assert!(chain.keys("schemas/joined/_manifests/").await.is_empty());
    chain.ask("sweep", &json!({})).await;
    assert_eq!(chain.next("joined", None).await, of);
    chain.ask("flip", &manifest_event(&chain.paths("joined"), &of)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_unload_cannot_write_are_refused_before_the_start() {
    let many = YOUNG.replace("month(joined) AS month", "id % 101 AS month");
    let chain = chain(&format!("{USERS}{many}"), &[("EngineWorkgroups", "etl")]).await;
    with_users(&chain, 300).await;
    let refused = chain.answer("export", &json!({ "dataset": "joined" })).await.unwrap_err();
    assert_eq!(refused.error_type, "Config");
    assert!(refused.error_message.starts_with("the result has more than 100 partitions by month"), "{refused}");
    assert!(chain.left("schemas/joined/").await.is_empty());
}

const ORDERS: &str = r#"
[datasets.orders]
source = { glue_job = { name = "orders_by_day", arguments = { "--orders" = "s3://${BUCKET}/source/orders/" }, timeout = "10m" } }
partition_by = ["dt"]
checks = { min_rows = 1, not_null = ["user_id"] }
"#;

fn sample(name: &str) -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/local/sample/engines")).join(name)
}

/// Returns whether PySpark can run here, which needs Java. Prints `SKIPPED` if it can't.
async fn spark_is_here() -> bool {
    match emulator().await.tools.spark().await {
        Ok(()) => true,
        Err(error) => {
            println!("SKIPPED: no Glue job was run: {error:#}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pyspark_job_builds_a_generation() {
    if !spark_is_here().await {
        return;
    }
    let chain = chain(ORDERS, &[("GlueJobs", "orders_by_day")]).await;
    create_job(&chain, "orders_by_day", std::fs::read(sample("orders_by_day.py")).unwrap()).await.unwrap();
    let orders = std::fs::read(sample("bucket/source/orders/2024-01.csv")).unwrap();
    chain.put("source/orders/2024-01.csv", orders).await.unwrap();
    let started = chain.ask("export", &json!({ "dataset": "orders" })).await;
    assert_eq!(started["outcome"], "started", "{started}");
    // A second request finds the run by the location in the job's arguments.
    let again = chain.ask("export", &json!({ "dataset": "orders" })).await;
    assert_eq!((&again["outcome"], &again["run"]), (&json!("running"), &started["run"]));
    assert_eq!(chain.next("orders", None).await, generation(&started));
    let table = chain.table("orders").await.unwrap();
    let columns: Vec<String> =
        tests::catalog::columns(&table).iter().map(|c| format!("{} {}", c.name, c.glue_type)).collect();
    assert_eq!(columns, ["user_id bigint", "total decimal(12,2)", "orders bigint", "last_at timestamp"]);
    assert_eq!(table.partition_keys()[0].r#type(), Some("date"));
    let found = chain
        .query("SELECT sum(total), sum(orders), count(*), max(last_at) FROM dmp.orders WHERE dt = DATE '2024-01-30'")
        .await;
    assert_eq!(cells(found), ["22.00", "3", "2", "2024-01-30 21:15:00.123"]);

    // A failed job's error contains the error's name, but no row's value.
    put_script(&chain, "orders_by_day", b"raise ValueError('alice')".to_vec()).await.unwrap();
    chain.ask("export", &json!({ "dataset": "orders" })).await;
    let line = chain.until("the failure", async || chain.lines("export", "engine failed").await.pop()).await;
    let error = line["error"].as_str().unwrap();
    let text = "of Glue job \"orders_by_day\" failed with ValueError: fix the cause that the run's log shows, then invoke \
                export again";
    assert!(error.ends_with(text), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_of_each_engine_runs_with_the_local_runner() {
    if !spark_is_here().await {
        return;
    }
    let (postgres, mariadb) = tokio::task::spawn_blocking(|| (Postgres::shared(), Mariadb::shared())).await.unwrap();
    let turntable = cli::workspace::target().unwrap().join("debug/turntable");
    let run = tokio::process::Command::new(turntable)
        .arg("run")
        .arg(sample("datasets.toml"))
        .args(["--output", "json"])
        .env("POSTGRES_URL", postgres.url())
        .env("MYSQL_URL", mariadb.url())
        .stdin(Stdio::null())
        .output();
    let run = run.await.unwrap();
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}");
    let report: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let mut rows: Vec<(String, u64)> = report["datasets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|live| (live["dataset"].as_str().unwrap().to_owned(), live["rows"].as_u64().unwrap()))
        .collect();
    rows.sort();
    let expected = [("invoices", 1000), ("optouts", 1), ("orders", 4), ("shipments", 500), ("shops", 3), ("users", 3)];
    assert_eq!(rows, expected.map(|(dataset, rows)| (dataset.to_owned(), rows)));
    assert_eq!(report["reader"]["failed"], 0);
}

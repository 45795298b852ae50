//! A pooler between the source and the server: what can work through it works, and the errors explain what can't.

use tests::{pgbouncer::PgBouncer, postgres::Database};
use turntable::{
    config,
    error::{Error, Kind, Result},
    sources::postgres,
};

use super::{context, fault, fetch, options, rows, run};

struct Pooled {
    database: Database,
    pooler: PgBouncer,
}

impl Pooled {
    /// Returns the database's URL through the pooler.
    fn url(&self) -> String {
        self.database.on(self.pooler.port())
    }
}

async fn pooled(settings: &'static [&'static str]) -> Pooled {
    let database = Database::create().await;
    let server = database.server();
    let pooler = tokio::task::spawn_blocking(move || PgBouncer::start(server, settings)).await.unwrap();
    Pooled { database, pooler }
}

async fn parts(url: &str, query: &str, parallel: u32) -> Result<usize> {
    let options = config::Postgres { parallel, ..options(url, query) };
    Ok(rows(postgres::open(&options, &context()).await?).await?.len())
}

const POOLER: &str = "a pooler in transaction or statement mode is in front of the server: connect to the server itself, or \
                      to a pool in session mode";

fn explained(error: &Error, kind: Kind, text: &str) {
    assert_eq!(error.kind(), kind, "{}", error.message());
    assert!(error.message().ends_with(text), "{}", error.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_within_one_transaction_works_in_transaction_mode() {
    let both = pooled(&["pool_mode = transaction", "default_pool_size = 3"]).await;
    let (direct, url) = (both.database.url(), both.url());
    run(&direct, "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE many AS SELECT g AS id, 'ok'::mood AS mood FROM generate_series(1, 50000) g")
        .await;
    for _ in 0..3 {
        assert_eq!(parts(&url, "SELECT id, mood FROM many", 1).await.unwrap(), 50_000);
        assert_eq!(parts(&url, "SELECT id, mood FROM many", 3).await.unwrap(), 50_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_left_in_a_pool_are_explained() {
    let both = pooled(&["pool_mode = transaction", "default_pool_size = 1"]).await;
    let url = both.url();
    // The driver's names are s0, s1, …; another program with the same driver has left all of them behind.
    let left: String = (0..2000).map(|at| format!("PREPARE s{at} AS SELECT 1;")).collect();
    run(&url, &left).await;
    explained(&fault(&url, "SELECT 1 AS n").await, Kind::Config, POOLER);
}

#[tokio::test(flavor = "multi_thread")]
async fn statement_mode_and_an_unknown_parameter_are_explained() {
    let both = pooled(&["pool_mode = statement"]).await;
    let url = both.url();
    explained(&fault(&url, "SELECT 1 AS n").await, Kind::Config, POOLER);
    let error = fault(&format!("{url}?options=-c%20geqo%3Doff"), "SELECT 1 AS n").await;
    explained(
        &error,
        Kind::Config,
        "a pooler is in front of the server: remove the parameter, or allow it in the pooler (PgBouncer: \
         ignore_startup_parameters)",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_smaller_than_parallel_is_explained() {
    let both = pooled(&["pool_mode = session", "default_pool_size = 2", "query_wait_timeout = 1"]).await;
    let (direct, url) = (both.database.url(), both.url());
    run(&direct, "CREATE TABLE many AS SELECT g AS id FROM generate_series(1, 50000) g").await;
    assert_eq!(parts(&url, "SELECT id FROM many", 2).await.unwrap(), 50_000);
    explained(
        &parts(&url, "SELECT id FROM many", 4).await.unwrap_err(),
        Kind::Unavailable,
        "the pooler has no free connection: make the pool larger than parallel, or connect to the server itself",
    );
    assert_eq!(fetch(&url, "SELECT 1 AS n").await.unwrap().len(), 1);
}

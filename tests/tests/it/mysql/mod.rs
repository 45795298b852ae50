//! The MySQL source, on a real MariaDB server.

mod charsets;
mod differential;
mod docs;
mod failures;
mod login;
mod parallel;
mod random;
mod render;
mod settings;
mod snapshot;
mod structure;
mod tls;
mod types;
mod warnings;

use std::sync::Arc;

use futures::TryStreamExt;
use jiff::Timestamp;
use tests::mariadb::{Mariadb, Row};
use turntable::{
    config::{self, Connect, OnUnrepresentable, Session, SharedSnapshot},
    error::{Error, Result},
    layout::TableName,
    sources::{Context, Opened, mysql},
};

fn context() -> Context {
    Context {
        objects: Arc::new(tests::memory::Objects::default()),
        secrets: None,
        iam: None,
        copies: None,
        now: Timestamp::UNIX_EPOCH,
        table: TableName { database: "dmp".into(), table: "t".into() },
        on_unrepresentable: OnUnrepresentable::Error,
    }
}

fn options(url: &str, query: &str) -> config::Mysql {
    config::Mysql {
        connect: Connect::Url(url.into()),
        query: query.into(),
        parallel: 1,
        split_by: None,
        snapshot: SharedSnapshot::default(),
        sql_mode: None,
        allow_warnings: Vec::new(),
        session: Session::default(),
    }
}

async fn open(url: &str, query: &str) -> Result<Opened> {
    mysql::open(&options(url, query), &context()).await
}

async fn rows(mut opened: Opened) -> Result<Vec<Row>> {
    let batches: Vec<_> = opened.rows.streams.remove(0).try_collect().await?;
    Ok(batches.iter().flat_map(render::rows).collect())
}

async fn fetch(url: &str, query: &str) -> Result<Vec<Row>> {
    rows(open(url, query).await?).await
}

/// Returns the error of a query that must fail, whether opening it or reading its rows fails.
async fn fault(url: &str, query: &str) -> Error {
    fetch(url, query).await.expect_err("this query must fail")
}

async fn run(server: &'static Mariadb, sql: impl Into<String>) -> Vec<Row> {
    let sql = sql.into();
    tokio::task::spawn_blocking(move || server.run(&sql)).await.expect("MariaDB's client")
}

/// Returns whether to skip a test of a feature that only MariaDB has, because the server is MySQL. If so, prints the
/// feature.
fn is_skipped(server: &Mariadb, only_mariadb_has: &str) -> bool {
    if server.is_mysql() {
        println!("skipped: MySQL has no {only_mariadb_has}");
    }
    server.is_mysql()
}

/// Returns the server that all tests share. A test leaves nothing in it except its own tables and users.
async fn shared() -> &'static Mariadb {
    tokio::task::spawn_blocking(Mariadb::shared).await.expect("MariaDB")
}

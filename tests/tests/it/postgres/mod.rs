//! The PostgreSQL source, on a real PostgreSQL server.

mod differential;
mod docs;
mod encodings;
mod exact;
mod failures;
pub mod files;
mod parts;
mod poolers;
mod random;
mod render;
mod row_security;
mod session;
mod settings;
mod structure;
mod tls;
mod types;
mod unrepresentable;

use std::sync::{Arc, OnceLock};

use futures::{TryStreamExt, future::try_join_all};
use jiff::Timestamp;
use tests::postgres::Postgres;
use turntable::{
    config::{self, Connect, OnUnrepresentable},
    error::{Error, Result},
    layout::TableName,
    sources::{Context, Opened, postgres},
};

fn context() -> Context {
    Context {
        objects: Arc::new(tests::memory::Objects::default()),
        secrets: None,
        iam: None,
        now: Timestamp::UNIX_EPOCH,
        table: TableName { database: "dmp".into(), table: "t".into() },
        on_unrepresentable: OnUnrepresentable::Error,
        copies: None,
    }
}

fn options(url: &str, query: &str) -> config::Postgres {
    config::Postgres {
        connect: Connect::Url(url.into()),
        query: query.into(),
        parallel: 1,
        split_by: None,
        session: Default::default(),
    }
}

async fn open(url: &str, query: &str) -> Result<Opened> {
    postgres::open(&options(url, query), &context()).await
}

/// Returns the rows of all streams, one stream after the other, with each value as a string.
async fn rows(opened: Opened) -> Result<Vec<Vec<Option<String>>>> {
    let batches = try_join_all(opened.rows.streams.into_iter().map(TryStreamExt::try_collect::<Vec<_>>)).await?;
    Ok(batches.iter().flatten().flat_map(render::rows).collect())
}

async fn fetch(url: &str, query: &str) -> Result<Vec<Vec<Option<String>>>> {
    rows(open(url, query).await?).await
}

/// Returns the error of a query that must fail, whether opening it or reading its rows fails.
async fn fault(url: &str, query: &str) -> Error {
    fetch(url, query).await.expect_err("this query must fail")
}

/// Runs statements, and returns their rows as PostgreSQL renders them.
async fn run(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    });
    let rows = rows.collect();
    drop(client);
    let _ = connection.await;
    rows
}

/// Returns the URL of the shared server's database `postgres`. A test leaves nothing in it except its own tables and
/// roles.
async fn shared() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    let url = || URL.get_or_init(|| Postgres::shared().url());
    tokio::task::spawn_blocking(url).await.expect("PostgreSQL")
}

//! A PostgreSQL client that takes SQL and returns strings.

use tests::postgres::Database;
use tokio_postgres::{NoTls, SimpleQueryMessage};

pub type Row = Vec<Option<String>>;

/// Runs statements, and returns all their rows as PostgreSQL renders them.
pub async fn run(url: &str, sql: &str) -> Vec<Row> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    };
    let rows = messages.iter().filter_map(row).collect();
    drop(client);
    let _ = connection.await;
    rows
}

/// Creates a database for one test.
pub async fn start() -> Database {
    Database::create().await
}

//! Column names, batches, snapshots and connections.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tests::postgres::{Database, Postgres};
use turntable::{clock::Clock, error::Kind};

use super::{fault, fetch, open, run, shared};

#[tokio::test(flavor = "multi_thread")]
async fn names_are_lower_case_and_queries_of_any_shape_work() {
    let url = shared().await;
    let opened = open(url, "SELECT 1 AS \"UserID\", 2 AS \"名前 \"\"x\"\"\" -- the end").await.unwrap();
    let names: Vec<&str> = opened.rows.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["userid", "名前 \"x\""]);
    let text = |text: &str| Some(text.to_owned());
    let with = "WITH a AS (SELECT generate_series(1, 3) AS n) SELECT n FROM a ORDER BY n DESC LIMIT 2";
    assert_eq!(fetch(url, with).await.unwrap(), [[text("3")], [text("2")]]);
    assert_eq!(fetch(url, "VALUES (1, 'a')").await.unwrap(), [[text("1"), text("a")]]);
    assert_eq!(fetch(url, "TABLE pg_catalog.pg_am").await.unwrap().len(), run(url, "TABLE pg_am").await.len());
    assert_eq!(fetch(url, "SELECT 1 AS n WHERE false").await.unwrap().len(), 0);
    // Row types of tables, anonymous rows and literals.
    let rows = "SELECT c, ROW(1, 'x') AS r, 'lit' AS l FROM pg_class c WHERE relname = 'pg_class'";
    assert_eq!(fetch(url, rows).await.unwrap()[0][1..], [text("(1,x)"), text("lit")]);
    let error = fault(url, "SELECT 1 AS a, 2, 3 AS \"A\"").await;
    assert_eq!(error.kind(), Kind::Input);
    assert_eq!(
        error.message(),
        "column 2 of the query has no name: give it one with AS; the query has two columns named \"a\" (Glue's names \
         are lower case): rename one with AS"
    );
    for (query, text) in [
        ("SELECT", "the source's query returns no columns: expected a SELECT"),
        ("SELECT $1::int AS a", "the source's query has parameters ($1, …): replace them with values"),
    ] {
        assert_eq!(fault(url, query).await.message(), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_of_one_moment_which_as_of_names() {
    let url = shared().await;
    run(url, "CREATE TABLE moments AS SELECT g AS n, repeat('x', 500) AS t FROM generate_series(1, 100000) g").await;
    let before = Clock::system().now();
    let opened = open(url, "SELECT n, t FROM moments").await.unwrap();
    let after = Clock::system().now();
    assert!(before <= opened.as_of && opened.as_of <= after);
    run(url, "DELETE FROM moments WHERE n > 10").await;
    let batches: Vec<_> = opened.rows.streams.into_iter().next().unwrap().try_collect().await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 100_000);
    // A batch has 8192 rows, which are far from 8 MB here.
    assert_eq!(batches[0].num_rows(), 8192);
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_rows_make_small_batches() {
    let url = shared().await;
    let query = "SELECT repeat('x', 1000000) AS t FROM generate_series(1, 40)";
    let opened = open(url, query).await.unwrap();
    let batches: Vec<_> = opened.rows.streams.into_iter().next().unwrap().try_collect().await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 40);
    assert!(batches.iter().all(|batch| batch.num_rows() <= 9), "{}", batches[0].num_rows());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_over_a_socket_of_unix_too() {
    let folder = std::env::temp_dir().display().to_string();
    let settings = format!("unix_socket_directories={folder}");
    let server = tokio::task::spawn_blocking(move || Postgres::start_with(&[&settings])).await.unwrap();
    let host = folder.replace('/', "%2F");
    let url = format!("postgres://turntable:secret@{host}:{}/postgres", server.port());
    let rows = fetch(&url, "SELECT g AS n FROM generate_series(1, 20000) g").await.unwrap();
    assert_eq!((rows.len(), &rows[19_999]), (20_000, &vec![Some("20000".to_owned())]));
    let error = fault(&url, "SELECT 1 / (2 - g) AS n FROM generate_series(1, 2) g").await;
    assert_eq!(error.kind(), Kind::Input);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_ends_with_the_stream_and_with_its_drop() {
    let database = Database::create().await;
    let url = database.url();
    let count =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'turntable' AND datname = current_database()";
    let gone = || async {
        for _ in 0..500 {
            if run(&url, count).await[0][0].as_deref() == Some("0") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    };
    fetch(&url, "SELECT 1 AS n").await.unwrap();
    assert!(gone().await);
    let endless = "SELECT generate_series(1, 1000000000) AS n";
    let mut opened = open(&url, endless).await.unwrap();
    opened.rows.streams[0].next().await.unwrap().unwrap();
    assert_eq!(run(&url, count).await[0][0].as_deref(), Some("1"));
    drop(opened);
    assert!(gone().await);
    assert!(!database.server().log().contains("PANIC"));
}

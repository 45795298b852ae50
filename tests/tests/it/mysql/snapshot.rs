//! Snapshots: every row is from one moment, nothing is written, and no connection is left behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use turntable::{clock::Clock, config::Source, error::Kind, sources::Snapshot};

use super::{context, fault, is_skipped, open, options, rows, run, shared};

#[tokio::test(flavor = "multi_thread")]
async fn all_rows_are_of_one_moment_and_as_of_is_not_after_it() {
    let server = shared().await;
    run(server, "CREATE TABLE moving (id int) ENGINE=InnoDB; INSERT INTO moving VALUES (1), (2)").await;
    let before = Clock::system().now();
    let opened = open(&server.url(), "SELECT id FROM moving ORDER BY id").await.unwrap();
    run(server, "INSERT INTO moving VALUES (3); DELETE FROM moving WHERE id = 1").await;
    let after = Clock::system().now();
    let as_of = opened.as_of;
    assert!(before <= as_of && as_of <= after, "{before} {as_of} {after}");
    assert_eq!(rows(opened).await.unwrap(), [[Some("1".to_owned())], [Some("2".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_queries_of_one_snapshot_see_the_same_moment() {
    let server = shared().await;
    run(server, "CREATE TABLE pair_a (id int) ENGINE=InnoDB; CREATE TABLE pair_b LIKE pair_a").await;
    let both = "START TRANSACTION; INSERT INTO pair_a VALUES (7); INSERT INTO pair_b VALUES (7); COMMIT";
    run(server, both).await;
    let of = |table: &str| Source::Mysql(options(&server.url(), &format!("SELECT id FROM {table}")));
    let snapshot = Snapshot::take(&of("pair_a"), &context()).await.unwrap();
    run(server, both).await;
    let first = snapshot.open(&of("pair_a"), &context()).await.unwrap();
    let as_of = first.as_of;
    assert_eq!(rows(first).await.unwrap().len(), 1);
    run(server, both).await;
    let second = snapshot.open(&of("pair_b"), &context()).await.unwrap();
    assert_eq!((second.as_of, rows(second).await.unwrap().len()), (as_of, 1));
    snapshot.end().await;
    assert_eq!(run(server, "SELECT id FROM pair_b").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written() {
    let server = shared().await;
    if is_skipped(server, "statement that writes and returns rows") {
        return;
    }
    run(server, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await;
    let error = fault(&server.url(), "DELETE FROM kept RETURNING n").await;
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.message().contains("READ ONLY transaction"), "{error}");
    assert_eq!(run(server, "SELECT n FROM kept").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_is_in_utc_whatever_the_server_is_in() {
    let server = shared().await;
    run(
        server,
        "CREATE USER tokyo@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT ALL ON shop.* TO tokyo@'127.0.0.1';
                 CREATE TABLE moments (id int, t timestamp); SET time_zone = '+09:00';
                 INSERT INTO moments VALUES (1, '2024-01-01 09:00:00')",
    )
    .await;
    run(server, "SET GLOBAL time_zone = '+09:00'").await;
    let found = super::fetch(&server.url(), "SELECT t FROM moments").await;
    run(server, "SET GLOBAL time_zone = SYSTEM").await;
    assert_eq!(found.unwrap()[0][0].as_deref(), Some("2024-01-01 00:00:00.000000"));
}

/// By itself, the driver would read all remaining rows before it disconnects.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_dropped_ends_its_query() {
    let server = shared().await;
    let mut opened = open(&server.url(), "SELECT seq AS dropped_early FROM seq_1_to_1000000000").await.unwrap();
    opened.rows.streams[0].next().await.unwrap().unwrap();
    let running = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT seq AS dropped_early%'";
    assert_eq!(run(server, running).await[0][0].as_deref(), Some("1"));
    drop(opened);
    for _ in 0..100 {
        if run(server, running).await[0][0].as_deref() == Some("0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the query is still running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_holds_no_more_than_a_few_batches() {
    let server = shared().await;
    let (port, received) = counting_proxy(server.port()).await;
    let url = server.url().replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let mut opened = open(&url, "SELECT seq AS n, repeat('x', 1000) AS t FROM seq_1_to_2000000").await.unwrap();
    opened.rows.streams[0].next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = received.load(Ordering::Relaxed);
    assert!(before > 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let more = received.load(Ordering::Relaxed) - before;
    assert!(more < 64 << 20, "{more} bytes more in a pause");
}

/// Starts a proxy in front of a local port. Returns the proxy's port, and a count of the bytes that its clients have
/// received. The count stands in for the reader's memory use, which can't be measured: other tests run in this process.
async fn counting_proxy(to: u16) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, received) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
    let count = received.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let count = count.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                    if to_client.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                    count.fetch_add(length as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (port, received)
}

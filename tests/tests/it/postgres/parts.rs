//! Several connections on one snapshot: every row is read once, and all rows are from one moment.

use std::collections::BTreeSet;

use turntable::{
    config::{self, Source},
    error::{Kind, Result},
    sources::{Snapshot, postgres},
};

use super::{context, options, rows, run, shared};

async fn parts(url: &str, query: &str, parallel: u32, split_by: Option<&str>) -> Result<(usize, Vec<String>)> {
    let options = config::Postgres { parallel, split_by: split_by.map(Into::into), ..options(url, query) };
    let opened = postgres::open(&options, &context()).await?;
    let streams = opened.rows.streams.len();
    // These rows are inserted after the snapshot, so no stream may see them.
    run(url, "INSERT INTO parted SELECT -g, 'late' FROM generate_series(1, 50) g").await;
    let rows = rows(opened).await?;
    run(url, "DELETE FROM parted WHERE name = 'late'").await;
    Ok((streams, rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()))
}

const BREAKS_OUT: &str = "x\" from nobody; drop table parted; --'";

#[tokio::test(flavor = "multi_thread")]
async fn every_row_comes_once_however_the_table_is_split() {
    let url = shared().await;
    run(
        url,
        "CREATE TABLE parted (id bigint, name text);
         INSERT INTO parted SELECT g * g, CASE WHEN g % 3 > 0 THEN '名' || g % 7 END FROM generate_series(1, 20000) g",
    )
    .await;
    let all: BTreeSet<String> = (1..=20_000_i64).map(|g| (g * g).to_string()).collect();
    for analyzed in [false, true] {
        for (query, split_by, expected) in [
            ("SELECT * FROM parted", None, 4),
            ("SELECT id, name FROM public.parted", Some("ID"), 4),
            ("SELECT id, name FROM parted WHERE id > 0", Some("name"), 4),
            ("SELECT id, name AS same FROM parted", Some("same"), 4),
            ("SELECT id, sum(1) AS n FROM parted GROUP BY id ORDER BY id", Some("id"), 4),
            // A name that would end the identifier and the statement if it weren't quoted.
            ("SELECT id, id AS \"x\"\" from nobody; drop table parted; --'\" FROM parted", Some(BREAKS_OUT), 4),
        ] {
            let (streams, found) = parts(url, query, 4, split_by).await.unwrap();
            assert_eq!(found.len(), all.len(), "{query}");
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all, "{query}");
            assert!(streams <= expected, "{query}: {streams}");
            assert!(split_by != Some("ID") || streams == 4);
        }
        if !analyzed {
            run(url, "ANALYZE parted").await;
        }
    }
    let error = parts(url, "SELECT count(*) FROM parted", 2, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    let text = "parallel needs split_by, unless the query is SELECT columns FROM table on an ordinary table (not a view, and \
                not partitioned): set split_by, or remove parallel";
    assert_eq!(error.message(), text);
    assert_eq!(parts(url, "SELECT id FROM pg_stat_activity", 2, None).await.unwrap_err().kind(), Kind::Input);
    assert_eq!(parts(url, "SELECT pid FROM pg_stat_activity", 2, None).await.unwrap_err().message(), text);
    let error = parts(url, "SELECT id FROM parted", 2, Some("name")).await.unwrap_err();
    assert_eq!(error.message(), "split_by \"name\" is not a column of the query: expected one of id");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_queries_of_one_snapshot_see_the_same_moment() {
    let url = shared().await;
    run(url, "CREATE TABLE pair_a (id int); CREATE TABLE pair_b (id int)").await;
    let both = "BEGIN; INSERT INTO pair_a SELECT generate_series(1, 100); INSERT INTO pair_b SELECT generate_series(1, 100); COMMIT";
    run(url, both).await;
    let of = |table: &str, parallel| {
        let options = options(url, &format!("SELECT id FROM {table}"));
        Source::Postgres(config::Postgres { parallel, split_by: Some("id".into()), ..options })
    };
    let snapshot = Snapshot::take(&of("pair_a", 1), &context()).await.unwrap();
    run(url, both).await;
    let first = snapshot.open(&of("pair_a", 1), &context()).await.unwrap();
    let as_of = first.as_of;
    assert_eq!(rows(first).await.unwrap().len(), 100);
    run(url, both).await;
    let second = snapshot.open(&of("pair_b", 4), &context()).await.unwrap();
    assert_eq!((second.as_of, second.rows.streams.len()), (as_of, 4));
    assert_eq!(rows(second).await.unwrap().len(), 100);
    snapshot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_connection_was_lost_is_taken_again() {
    let url = shared().await;
    run(url, "CREATE ROLE loser LOGIN PASSWORD 'secret'").await;
    let source = Source::Postgres(options(&url.replace("turntable:", "loser:"), "SELECT 1 AS id"));
    let snapshot = Snapshot::take(&source, &context()).await.unwrap();
    let lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'loser'";
    assert_eq!(run(url, lost).await.len(), 1);
    let error = snapshot.open(&source, &context()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", error.report());
    let text = "doesn't have the snapshot that another connection exported: that connection was lost, or the address leads \
                to several servers (name one of them); nothing was published; try again";
    assert!(error.message().ends_with(text), "{}", error.message());
}

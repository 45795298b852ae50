//! Several connections: the parts hold each row once, and all of them are from one moment while others write.

use std::sync::OnceLock;

use futures::TryStreamExt;
use tests::mariadb::{Mariadb, Row};
use turntable::{
    config::{self, SharedSnapshot},
    error::{Error, Kind, Result},
    sources::mysql,
};

use super::{context, is_skipped, options, render, run, shared};

const HOW: [SharedSnapshot; 3] = [SharedSnapshot::Binlog, SharedSnapshot::Lock, SharedSnapshot::None];

/// Returns a server that writes a binary log.
async fn logging() -> &'static Mariadb {
    static SERVER: OnceLock<Mariadb> = OnceLock::new();
    let start = || SERVER.get_or_init(|| Mariadb::start_with(&["--log-bin=log", "--server-id=1"]));
    tokio::task::spawn_blocking(start).await.expect("MariaDB")
}

/// Returns whether the server can give several connections one snapshot in this way.
fn is_possible(server: &Mariadb, how: SharedSnapshot) -> bool {
    how != SharedSnapshot::Binlog || !server.is_mysql()
}

fn parallel(url: &str, query: &str, snapshot: SharedSnapshot) -> config::Mysql {
    config::Mysql { parallel: 4, snapshot, ..options(url, query) }
}

/// Returns the rows of all parts, sorted, and the number of parts.
async fn fetch(options: &config::Mysql) -> Result<(Vec<Row>, usize)> {
    let opened = mysql::open(options, &context()).await?;
    let parts = opened.rows.streams.len();
    let reading = opened.rows.streams.into_iter().map(|stream| stream.try_collect::<Vec<_>>());
    let batches = futures::future::try_join_all(reading).await?;
    let mut rows: Vec<Row> = batches.iter().flatten().flat_map(render::rows).collect();
    rows.sort();
    Ok((rows, parts))
}

async fn fault(options: &config::Mysql) -> Error {
    fetch(options).await.expect_err("this query must fail")
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_hold_every_row_once() {
    let server = logging().await;
    run(
        server,
        "CREATE TABLE plain (id int PRIMARY KEY, n int); INSERT INTO plain SELECT seq, seq % 7 FROM seq_1_to_20000;
         CREATE TABLE `Uneven` (id bigint unsigned PRIMARY KEY, n int); INSERT INTO `Uneven` SELECT seq, 1 FROM seq_1_to_5000;
         INSERT INTO `Uneven` VALUES (0, 1), (18446744073709551615, 1);
         CREATE TABLE negative (a smallint, id bigint, PRIMARY KEY (a, id));
         INSERT INTO negative SELECT CAST(seq AS signed) % 9 - 4, CAST(seq AS signed) - 9223372036854775807 FROM seq_0_to_900;
         CREATE TABLE nullable (id int, n int, KEY (id)); INSERT INTO nullable SELECT NULLIF(seq % 5, 0), seq FROM seq_1_to_500;
         CREATE TABLE empty_one (id int PRIMARY KEY); CREATE TABLE single (id int PRIMARY KEY); INSERT INTO single VALUES (7);
         CREATE TABLE divided (id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3;
         INSERT INTO divided SELECT seq FROM seq_1_to_100",
    )
    .await;
    for (query, split_by) in [
        ("SELECT * FROM plain", None),
        ("\n  select n, id\nfrom shop.plain", Some("ID")),
        ("SELECT id, n FROM `Uneven`", None),
        ("SELECT a, id FROM negative", None),
        ("SELECT id, n FROM nullable", Some("id")),
        ("SELECT id FROM empty_one", None),
        ("SELECT id FROM single", None),
        ("SELECT id FROM divided", None),
    ] {
        let mut expected = run(server, query).await;
        expected.sort();
        for how in HOW.into_iter().filter(|how| is_possible(server, *how)) {
            let options = parallel(&server.url(), query, how);
            let options = config::Mysql { split_by: split_by.map(str::to_owned), ..options };
            let (rows, parts) = fetch(&options).await.unwrap();
            assert_eq!((rows.len(), parts), (expected.len(), 4), "{query}");
            assert_eq!(rows, expected, "{query}");
        }
    }
}

/// A writer moves an amount between the first and the last row of a table, in many transactions. Parts that are from
/// different moments don't add up.
#[tokio::test(flavor = "multi_thread")]
async fn all_parts_are_of_one_moment_while_others_write() {
    let server = logging().await;
    run(
        server,
        "CREATE TABLE accounts (id int PRIMARY KEY, amount bigint) ENGINE = InnoDB;
         INSERT INTO accounts SELECT seq, 0 FROM seq_1_to_2000; CREATE TABLE goes_on (n int); INSERT INTO goes_on VALUES (1)",
    )
    .await;
    let writer = tokio::spawn(run(
        server,
        "DELIMITER //
         CREATE PROCEDURE move_amounts() BEGIN
           WHILE (SELECT count(*) FROM goes_on) > 0 DO
             START TRANSACTION;
             UPDATE accounts SET amount = amount - 1 WHERE id = 1;
             UPDATE accounts SET amount = amount + 1 WHERE id = 2000;
             COMMIT;
             DO sleep(0.001);
           END WHILE;
         END//
         CALL move_amounts()//",
    ));
    let mut seen = Vec::new();
    for how in [SharedSnapshot::Binlog, SharedSnapshot::Lock].into_iter().filter(|how| is_possible(server, *how)) {
        for round in 0..15 {
            let (rows, _) = fetch(&parallel(&server.url(), "SELECT amount, id FROM accounts", how)).await.unwrap();
            let amounts = rows.iter().map(|row| row[0].as_deref().unwrap().parse::<i64>().unwrap());
            assert_eq!(amounts.clone().sum::<i64>(), 0, "{how:?}, round {round}");
            seen.extend(amounts.max());
        }
    }
    run(server, "DELETE FROM goes_on").await;
    writer.await.unwrap();
    let exports = seen.len();
    seen.dedup();
    assert!(2 * seen.len() > exports, "the writer wrote too little between the exports: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_divided_is_refused() {
    let server = shared().await;
    let engine = if server.is_mysql() { "MyISAM" } else { "Aria" };
    run(
        server,
        "CREATE TABLE parted (id int PRIMARY KEY, name varchar(9), n int, KEY (name)) ENGINE = InnoDB;
         CREATE VIEW parted_view AS SELECT * FROM parted;
         CREATE TABLE parted_aria (id int PRIMARY KEY) ENGINE = Aria;
         CREATE TABLE parted_text (id varchar(9) PRIMARY KEY, n int, KEY (n)) ENGINE = InnoDB"
            .replace("Aria", engine),
    )
    .await;
    let form = "SELECT columns FROM table";
    for (query, split_by, expected) in [
        ("SELECT id FROM parted LIMIT 5", None, form),
        ("SELECT id FROM parted WHERE id > 5", None, form),
        ("SELECT DISTINCT id FROM parted", None, form),
        ("SELECT count(*) FROM parted", None, form),
        ("SELECT * FROM parted_view", None, "parted_view is a view or has another storage engine"),
        ("SELECT * FROM parted_aria", None, "parted_aria is a view or has another storage engine"),
        ("SELECT * FROM parted_text", None, "the primary key of parted_text doesn't begin with an integer column"),
        ("SELECT * FROM parted", Some("name"), "\"name\" is not an integer column of parted that begins an index"),
        ("SELECT * FROM parted", Some("n"), "\"n\" is not an integer column of parted that begins an index"),
    ] {
        let options = parallel(&server.url(), query, SharedSnapshot::Lock);
        let options = config::Mysql { split_by: split_by.map(str::to_owned), ..options };
        for error in [fault(&options).await, mysql::schema(&options, &context()).await.unwrap_err()] {
            assert_eq!(error.kind(), Kind::Config, "{error}");
            assert!(error.message().contains(expected), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_in_the_binary_log_must_show_every_change() {
    let without = shared().await;
    run(without, "CREATE TABLE unlogged (id int PRIMARY KEY)").await;
    let error = fault(&parallel(&without.url(), "SELECT id FROM unlogged", SharedSnapshot::Binlog)).await;
    assert!(error.message().contains("needs MariaDB with its binary log on (log_bin)"), "{error}");
    if is_skipped(without, "position of a snapshot in its binary log") {
        return;
    }

    let server = logging().await;
    run(
        server,
        "CREATE TABLE seen (id int PRIMARY KEY); CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'secret';
         GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
    )
    .await;
    let url = server.url().replace("turntable:", "reader:");
    let error = fault(&parallel(&url, "SELECT id FROM seen", SharedSnapshot::Binlog)).await;
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.message().contains("needs the BINLOG MONITOR privilege"), "{error}");
    let error = fault(&parallel(&url, "SELECT id FROM seen", SharedSnapshot::Lock)).await;
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.message().contains("needs the LOCK TABLES privilege on seen"), "{error}");

    let start = || Mariadb::start_with(&["--log-bin=log", "--server-id=1", "--binlog-ignore-db=shop"]);
    let filtered = tokio::task::spawn_blocking(start).await.unwrap();
    let url = filtered.url();
    tokio::task::spawn_blocking(move || {
        filtered.run("CREATE TABLE seen (id int PRIMARY KEY)");
        filtered
    })
    .await
    .map(async |_server| {
        let options = parallel(&url, "SELECT id FROM seen", SharedSnapshot::Binlog);
        for error in [fault(&options).await, mysql::schema(&options, &context()).await.unwrap_err()] {
            assert_eq!(error.kind(), Kind::Config);
            assert!(error.message().contains("its binary log leaves databases out"), "{error}");
        }
    })
    .unwrap()
    .await;
}

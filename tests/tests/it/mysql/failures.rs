//! Failures, and the exact message of each error.

use futures::StreamExt;
use tests::mariadb::Mariadb;
use tokio::net::TcpListener;
use turntable::{
    config::{self, Connect},
    error::{Error, Kind},
    sources::mysql,
};

use super::{context, fault, is_skipped, open, options, rows, run, shared};

fn check(error: &Error, kind: Kind, text: &str) {
    assert_eq!(error.message(), text);
    assert_eq!(error.kind(), kind);
}

/// Returns the server's name in messages: `turntable@127.0.0.1:PORT/shop`.
fn named(url: &str) -> String {
    url.replace("mysql://turntable:secret", "turntable")
}

fn address(url: &str) -> String {
    named(url).replace("turntable@", "").replace("/shop", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_says_what_the_server_says() {
    let server = shared().await;
    let url = server.url();
    let name = named(&url);
    for (query, text) in [
        ("SELECT 1 AS a FROM users_of_mars", "Table 'shop.users_of_mars' doesn't exist"),
        ("SELECT naem FROM mysql.user", "Unknown column 'naem' in 'SELECT'"),
    ] {
        let text = format!("MySQL at {name} rejected the query: {text}").to_lowercase();
        let text = if server.is_mysql() { text.replace("in 'select'", "in 'field list'") } else { text };
        let error = fault(&url, query).await;
        assert_eq!(error.message().to_lowercase(), text);
        assert_eq!(error.kind(), Kind::Input);
    }
    let error = fault(&url, "SELEC 1").await;
    assert!(
        error
            .message()
            .starts_with(&format!("MySQL at {name} rejected the query: You have an error in your SQL syntax"))
    );
    run(
        server,
        "CREATE USER nobody_much@'127.0.0.1' IDENTIFIED BY 'secret'; CREATE TABLE hidden AS SELECT 1 AS n;
         CREATE TABLE seen (n int); GRANT SELECT ON shop.seen TO nobody_much@'127.0.0.1'",
    )
    .await;
    let error = fault(&url.replace("turntable:", "nobody_much:"), "SELECT n FROM hidden").await;
    assert_eq!(error.kind(), Kind::Config);
    let name = name.replace("turntable@", "nobody_much@");
    let text = format!("MySQL at {name} rejected the query: SELECT command denied to user 'nobody_much'@");
    assert!(error.message().starts_with(&text), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_values_is_shown() {
    let server = shared().await;
    run(
        server,
        "CREATE TABLE mixed_a (s varchar(9) COLLATE utf8mb4_general_ci); INSERT INTO mixed_a VALUES ('a');
         CREATE TABLE mixed_b (s varchar(9) COLLATE utf8mb4_unicode_ci); INSERT INTO mixed_b VALUES ('a');
         CREATE DEFINER = nobody_here@localhost VIEW undefined_view AS SELECT s FROM mixed_a;
         CREATE TABLE gone (n int); CREATE VIEW broken AS SELECT n FROM gone; DROP TABLE gone",
    )
    .await;
    for (query, text) in [
        (
            "SELECT a.s FROM mixed_a a JOIN mixed_b b ON a.s = b.s",
            "Illegal mix of collations (utf8mb4_general_ci,IMPLICIT)",
        ),
        ("SELECT s FROM undefined_view", "The user specified as a definer ('nobody_here'@'localhost') does not exist"),
        ("SELECT n FROM broken", "View 'shop.broken' references invalid table(s) or column(s) or function(s)"),
        ("SELECT no_such_function(1) AS n", "FUNCTION shop.no_such_function does not exist"),
        ("SELECT (SELECT seq FROM seq_1_to_2) AS n", "Subquery returns more than 1 row"),
        ("SELECT s FROM mixed_a UNION SELECT 1, 2", "The used SELECT statements have a different number of columns"),
        // Line numbers count from the start of the query, including its empty lines.
        ("\n\nSELECT s\nFORM mixed_a\nWHERE 1", "near 'mixed_a\nWHERE 1' at line 4"),
    ] {
        let error = fault(&server.url(), query).await;
        assert!(error.message().contains(text), "{error}");
        assert_eq!(error.kind(), Kind::Input, "{error}");
    }
    // This message would show a value. MySQL has another one.
    if server.is_mysql() {
        return;
    }
    let error = fault(&server.url(), "SELECT s REGEXP '(' AS r FROM mixed_a").await;
    assert!(error.message().contains("ER_REGEXP_ERROR (SQLSTATE 42000; the message may contain"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_ends_with_the_truth() {
    let server = shared().await;
    let url = server.url();
    run(server, "CREATE TABLE locked AS SELECT 1 AS n").await;
    let mut holder = server.client().stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = holder.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"LOCK TABLES locked WRITE;\n").unwrap();
    while run(server, "SHOW OPEN TABLES FROM shop WHERE `Table` = 'locked' AND In_use > 0").await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let session = config::Session { lock_timeout: Some(jiff::SignedDuration::from_secs(1)), ..Default::default() };
    let options = config::Mysql { session, ..options(&url, "SELECT n FROM locked") };
    let text = format!(
        "MySQL at {}: another session has held a lock on one of the query's tables for longer than lock_timeout (1 s): end that \
         session (SHOW PROCESSLIST lists it), or raise lock_timeout; nothing was published; try again",
        named(&url)
    );
    // Reading the columns needs no lock that conflicts with this one, so `check` doesn't wait.
    assert_eq!(mysql::schema(&options, &context()).await.unwrap().fields().len(), 1);
    check(&rows(mysql::open(&options, &context()).await.unwrap()).await.unwrap_err(), Kind::Unavailable, &text);
    drop(input);
    holder.wait().unwrap();
    assert_eq!(rows(mysql::open(&options, &context()).await.unwrap()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_may_be_larger_than_the_largest_packet_of_the_server() {
    let url = shared().await.url();
    let query = "SELECT repeat('a', 30000000) AS a, repeat('b', 30000000) AS b, repeat('c', 30000000) AS c";
    let opened = open(&url, query).await.unwrap();
    let found = rows(opened).await.unwrap().remove(0);
    assert!(found.iter().all(|cell| cell.as_ref().is_some_and(|text| text.len() == 30_000_000)));
    // The value alone is just within the server's limit, but the whole row isn't.
    assert_eq!(super::fetch(&url, "SELECT 1 AS id, repeat('x', 67108855) AS a").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_never_gets_into_an_error() {
    let server = shared().await;
    run(server, "CREATE TABLE texts AS SELECT concat('<hunter', seq) AS t FROM seq_1_to_20000").await;
    // ExtractValue's own error would show its argument.
    let error = fault(&server.url(), "SELECT extractvalue('<a/>', concat('$', t)) AS n FROM texts").await;
    assert!(!error.report().contains("hunter"), "{}", error.report());
    if is_skipped(server, "message of extractvalue with a value") {
        return;
    }
    let code = "error 1105 ER_UNKNOWN_ERROR (SQLSTATE HY000; the message may contain a row's value: run the query in a client to see it)";
    let ended = format!("aborted the query after 0 rows: {code}");
    let answers = format!("returned an error: {code}");
    let name = named(&server.url());
    let texts = [format!("MySQL at {name} {ended}; nothing was published"), format!("MySQL at {name} {answers}")];
    assert!(texts.contains(&error.message().to_owned()), "{error}");
    assert_eq!(error.kind(), Kind::Input);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_says_what_to_correct() {
    let url = shared().await.url();
    let at = address(&url);
    let refuses = |by: &str| format!("MySQL at {at} rejected the password of user \"turntable\": correct it in {by}");
    check(&fault(&url.replace(":secret@", ":wrong@"), "SELECT 1 AS n").await, Kind::Config, &refuses("url"));
    check(&fault(&url.replace(":secret@", "@"), "SELECT 1 AS n").await, Kind::Config, &refuses("url"));
    check(
        &fault(&format!("{}?ssl-mode=DISABLED", url.replace(":secret@", ":wrong@")), "SELECT 1 AS n").await,
        Kind::Config,
        &format!("{}; if the server requires TLS for this user, change ssl-mode", refuses("url")),
    );
    check(
        &fault(&url.replace("/shop", "/mars"), "SELECT 1 AS n").await,
        Kind::Config,
        &format!("MySQL at turntable@{at}/mars rejected the query: Unknown database 'mars'"),
    );
    let secret = config::Mysql { connect: Connect::Secret("dmp".into()), ..options("", "SELECT 1 AS n") };
    let nowhere = mysql::open(&secret, &context()).await.err().unwrap();
    check(
        &nowhere,
        Kind::Config,
        "secret \"dmp\" can't be read, because no Secrets Manager client is configured: set url instead of secret",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_says_nothing_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fault(&format!("mysql://u:p@{closed}/d"), "SELECT 1 AS n").await;
    assert_eq!(error.kind(), Kind::Unavailable);
    let text = error.message();
    assert!(text.starts_with(&format!("MySQL at {closed} is not reachable (")) && text.contains("refused"), "{text}");
    assert!(text.ends_with("(in AWS: subnet, security group); nothing was published; try again"), "{text}");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    check(
        &fault(&format!("mysql://u:p@{address}/d"), "SELECT 1 AS n").await,
        Kind::Unavailable,
        &format!(
            "MySQL at {address} did not respond within 10 s: check the address and the network path (in AWS: subnet, \
             security group); nothing was published; try again"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_no_connection_left_is_unavailable() {
    let server: &'static Mariadb = Box::leak(Box::new(
        tokio::task::spawn_blocking(|| Mariadb::start_with(&["--max-connections=10"])).await.unwrap(),
    ));
    run(server, "CREATE USER plain@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT SELECT ON shop.* TO plain@'127.0.0.1'")
        .await;
    let url = server.url().replace("turntable:", "plain:");
    let mut opened = Vec::new();
    let error = loop {
        match open(&url, "SELECT seq AS n FROM seq_1_to_1000000000").await {
            Ok(more) => opened.push(more),
            Err(error) => break error,
        }
        assert!(opened.len() < 20);
    };
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.message().contains("Too many connections"), "{error}");
    drop(opened);
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_is_unavailable_and_says_how_far_it_came() {
    let server: &'static Mariadb = Box::leak(Box::new(tokio::task::spawn_blocking(Mariadb::start).await.unwrap()));
    let url = server.url();
    for how in ["KILL QUERY", "KILL", "end"] {
        let mut opened = open(&url, "SELECT seq AS long_one FROM seq_1_to_1000000000").await.unwrap();
        opened.rows.streams[0].next().await.unwrap().unwrap();
        if how == "end" {
            tokio::task::spawn_blocking(|| server.kill()).await.unwrap();
        } else {
            let id = "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT seq AS long_one%'";
            let id = run(server, id).await.remove(0).remove(0).unwrap();
            run(server, format!("{how} {id}")).await;
        }
        let error = rows(opened).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{how}: {error}");
        let text = error.message();
        assert!(text.starts_with(&format!("MySQL at {}", named(&url))), "{text}");
        assert!(text.ends_with("; nothing was published; try again"), "{text}");
        let counted = text.split(" after ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(counted.parse::<u64>().unwrap() >= 8192, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_outs_are_those_of_the_dataset() {
    let url = shared().await.url();
    let limited = |url: &str, query: &str| {
        let second = Some(jiff::SignedDuration::from_secs(1));
        let session = config::Session { connect_timeout: second, statement_timeout: second, ..Default::default() };
        config::Mysql { session, ..options(url, query) }
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = limited(&format!("mysql://u:p@{}/d", silent.local_addr().unwrap()), "SELECT 1 AS n");
    let error = mysql::open(&nobody, &context()).await.err().unwrap();
    assert!(error.message().contains(" did not respond within 1 s: "), "{error}");
    let slow = limited(&url, "SELECT sleep(10) + seq AS n FROM seq_1_to_10");
    let started = std::time::Instant::now();
    let error = rows(mysql::open(&slow, &context()).await.unwrap()).await.unwrap_err();
    let name = if shared().await.is_mysql() { "maximum statement execution time" } else { "max_statement_time" };
    assert!(error.message().contains(name), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(started.elapsed().as_secs() < 8);
}

//! Failures, and the exact message of each error.

use std::sync::Arc;

use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use futures::StreamExt;
use jiff::SignedDuration;
use tests::postgres::{Database, Postgres};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use turntable::{
    aws::secrets::SecretsManager,
    config::{self, Connect, Session},
    error::{Error, Kind},
    sources::{Context, postgres},
};

use super::{context, fault, fetch, open, options, rows, run, shared};

fn check(error: &Error, kind: Kind, text: &str) {
    assert_eq!(error.message(), text);
    assert_eq!(error.kind(), kind);
}

/// Returns the server's name in messages: `turntable@127.0.0.1:PORT/postgres`.
fn named(url: &str) -> String {
    url.replace("postgres://turntable:secret", "turntable")
}

fn address(url: &str) -> String {
    named(url).replace("turntable@", "").replace("/postgres", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_fails_says_what_postgresql_says_and_where() {
    let url = shared().await;
    let server = named(url);
    for (query, text) in [
        ("SELEC 1", "syntax error at or near \"SELEC\" (at character 1 of the query)"),
        (
            "SELECT 1 AS a FROM users_of_mars",
            "relation \"users_of_mars\" does not exist (at character 20 of the query)",
        ),
        ("SELECT relnam FROM pg_class", "column \"relnam\" does not exist (at character 8 of the query)"),
        ("SELECT 1 AS a) TO STDOUT --", "syntax error at or near \")\" (at character 14 of the query)"),
        // Only the COPY around the query rejects this one. Its own text doesn't count.
        ("EXPLAIN SELECT 1", "syntax error at or near \"SELECT\" (at character 9 of the query)"),
    ] {
        let text = format!("PostgreSQL at {server} rejected the query: {text}");
        check(&fault(url, query).await, Kind::Input, &text);
    }
    check(
        &fault(url, "DELETE FROM pg_class").await,
        Kind::Input,
        "the source's query returns no columns: expected a SELECT",
    );
    run(url, "CREATE TABLE kept AS SELECT 1 AS n").await;
    assert!(fault(url, "DELETE FROM kept RETURNING n").await.message().starts_with("PostgreSQL at"));
    assert_eq!(run(url, "SELECT n FROM kept").await.len(), 1);
    run(url, "CREATE ROLE nobody_much LOGIN PASSWORD 'secret'; CREATE TABLE hidden AS SELECT 1 AS n").await;
    let other = url.replace("turntable:", "nobody_much:");
    check(
        &fault(&other, "SELECT n FROM hidden").await,
        Kind::Config,
        &format!(
            "PostgreSQL at {} rejected the query: permission denied for table hidden",
            server.replace("turntable@", "nobody_much@")
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_never_gets_into_an_error() {
    let url = shared().await;
    run(url, "CREATE TABLE texts AS SELECT 'hunter' || g AS t FROM generate_series(1, 20000) g").await;
    let error = fault(url, "SELECT t::int AS n FROM texts").await;
    check(
        &error,
        Kind::Input,
        &format!(
            "PostgreSQL at {} aborted the COPY after 0 rows: invalid_text_representation, SQLSTATE 22P02 (the message may \
             contain a row's value: see the server's log); nothing was published",
            named(url)
        ),
    );
    assert!(!error.report().contains("hunter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_values_is_shown_and_any_other_is_named_by_its_condition() {
    let database = Database::create().await;
    let url = database.url();
    run(
        &url,
        "CREATE TABLE texts AS SELECT 'hunter' || g AS t, g AS n FROM generate_series(1, 20) g;
         CREATE COLLATION one (provider = libc, locale = 'C'); CREATE TABLE mixed (a text COLLATE one, b text COLLATE \"POSIX\");
         INSERT INTO mixed VALUES ('hunter', 'x');
         CREATE FUNCTION calls_none(n int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN nowhere(n); END';
         CREATE FUNCTION reads_none() RETURNS SETOF int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN QUERY SELECT n FROM gone; END';
         CREATE FUNCTION dynamic(t text) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN EXECUTE ''SELECT ? '' || t; RETURN 1; END';
         CREATE FUNCTION says(t text) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RAISE ''no %'', t; END';
         CREATE FUNCTION feigns(t text) RETURNS int LANGUAGE plpgsql STABLE
           AS 'BEGIN RAISE ''no %'', t USING ERRCODE = ''division_by_zero''; END';
         CREATE DOMAIN small AS int CHECK (VALUE < 5)",
    )
    .await;
    let hidden = |name: &str, code: &str| {
        format!("{name}, SQLSTATE {code} (the message may contain a row's value: see the server's log)")
    };
    let inside =
        |name: &str, code: &str, function: &str| hidden(name, &format!("{code}, in PL/pgSQL function {function}"));
    for (query, shown) in [
        ("SELECT 1 / (n - 7) AS n FROM texts", "division by zero".to_owned()),
        ("SELECT 1 / 0 AS n", "division by zero".into()),
        (
            "SELECT calls_none(n) AS n FROM texts",
            inside("undefined_function", "42883", "calls_none(integer) line 1 at RETURN"),
        ),
        ("SELECT n FROM reads_none() AS n", inside("undefined_table", "42P01", "reads_none() line 1 at RETURN QUERY")),
        ("SELECT a < b AS n FROM mixed", "could not determine which collation to use for string comparison".into()),
        ("SELECT (SELECT n FROM texts) AS n", "more than one row returned by a subquery used as an expression".into()),
        (
            "SELECT n::small::int AS n FROM texts",
            "value for domain small violates check constraint \"small_check\"".into(),
        ),
        ("SELECT t ~ '(' AS n FROM texts", "invalid regular expression: parentheses () not balanced".into()),
        ("SELECT t::regclass AS n FROM texts", hidden("undefined_table", "42P01")),
        ("SELECT t::regtype AS n FROM texts", hidden("undefined_object", "42704")),
        ("SELECT dynamic(t) AS n FROM texts", inside("undefined_column", "42703", "dynamic(text) line 1 at EXECUTE")),
        ("SELECT says(t) AS n FROM texts", inside("raise_exception", "P0001", "says(text) line 1 at RAISE")),
        ("SELECT feigns(t) AS n FROM texts", inside("division_by_zero", "22012", "feigns(text) line 1 at RAISE")),
        ("SELECT to_date(t, 'YYYY') AS n FROM texts", hidden("invalid_datetime_format", "22007")),
    ] {
        let error = fault(&url, query).await;
        assert!(error.message().contains(&format!(": {shown}")), "{query}: {}", error.message());
        assert!(!error.report().contains("hunter"), "{query}: {}", error.report());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_is_named_after_the_lock_timeout() {
    let database = Database::create().await;
    let url = database.url();
    run(&url, "CREATE SCHEMA away; CREATE TABLE away.locked AS SELECT 1 AS id; CREATE VIEW over AS SELECT id FROM away.locked").await;
    let client = database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE away.locked IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let lock_timeout = Some(SignedDuration::from_secs(1));
    let session = Session { lock_timeout, ..Session::default() };
    let advice = "another session has held or awaited a lock that blocks readers (ALTER TABLE, TRUNCATE, LOCK, VACUUM FULL, …) for \
                  more than lock_timeout, 1 s: wait until it has ended, or end it (pg_blocking_pids() names it); nothing was \
                  published; try again";
    for (query, place) in [
        ("SELECT id FROM away.locked", " (at character 16 of the query): away.locked is locked: "),
        ("SELECT id FROM over", ": "),
    ] {
        let options = config::Postgres { session, ..options(&url, query) };
        let server = url.replace("postgres://turntable:secret", "turntable");
        let text =
            format!("PostgreSQL at {server} returned an error: canceling statement due to lock timeout{place}{advice}");
        check(&postgres::open(&options, &context()).await.err().unwrap(), Kind::Unavailable, &text);
        // The operators' `check` reads the columns, which takes the same lock.
        check(&postgres::schema(&options, &context()).await.unwrap_err(), Kind::Unavailable, &text);
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(fetch(&url, "SELECT id FROM away.locked").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_says_what_to_correct() {
    let url = shared().await;
    let at = address(url);
    check(
        &fault(&url.replace(":secret@", ":wrong@"), "SELECT 1 AS n").await,
        Kind::Config,
        &format!("PostgreSQL at {at} rejected the password of user \"turntable\": correct it in url"),
    );
    check(
        &fault(&url.replace(":secret@", "@"), "SELECT 1 AS n").await,
        Kind::Config,
        &format!("PostgreSQL at {at}: password missing: set it correctly in url"),
    );
    check(
        &fault(&url.replace("/postgres", "/mars"), "SELECT 1 AS n").await,
        Kind::Config,
        &format!("PostgreSQL at turntable@{at}/mars returned an error: database \"mars\" does not exist"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_says_nothing_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check(
        &fault(&format!("postgres://u:p@{closed}/d"), "SELECT 1 AS n").await,
        Kind::Unavailable,
        &format!(
            "PostgreSQL at {closed} is not reachable (Connection refused (os error 111)): check the address and the \
             network path (in AWS: subnet, security group); nothing was published; try again"
        ),
    );
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    check(
        &fault(&format!("postgres://u:p@{address}/d?connect_timeout=1"), "SELECT 1 AS n").await,
        Kind::Unavailable,
        &format!(
            "PostgreSQL at {address} did not respond within 1 s: check the address and the network path (in AWS: \
             subnet, security group); nothing was published; try again"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_dies_mid_copy_is_unavailable_and_says_how_far_it_came() {
    let mut server = Some(tokio::task::spawn_blocking(Postgres::start).await.unwrap());
    let url = server.as_ref().unwrap().url();
    let endless = "SELECT generate_series(1, 1000000000) AS n";
    for terminate in [true, false] {
        let mut opened = open(&url, endless).await.unwrap();
        opened.rows.streams[0].next().await.unwrap().unwrap();
        if terminate {
            run(&url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'turntable'")
                .await;
        } else {
            tokio::task::spawn_blocking({
                let server = server.take();
                move || drop(server)
            })
            .await
            .unwrap();
        }
        let error = rows(opened).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        let text = error.message();
        assert!(text.starts_with(&format!("PostgreSQL at {}", named(&url))), "{text}");
        assert!(text.ends_with("; nothing was published; try again"), "{text}");
        let counted = text.split(" after ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(counted.parse::<u64>().unwrap() >= 8192, "{text}");
        // A server that is blocked on a slow reader can't send its reason.
        let why = ["terminating connection due to administrator command", "the connection was lost after"];
        assert!(why.iter().any(|why| text.contains(why)), "{text}");
    }
}

/// Starts a fake Secrets Manager that always returns this answer, and returns a client for it.
async fn secrets(status: &'static str, body: String) -> Arc<SecretsManager> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 8192]).await;
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = socket.write_all((head + &body).as_bytes()).await;
        }
    });
    let config = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "tests"))
        .endpoint_url(endpoint)
        .build();
    Arc::new(SecretsManager(aws_sdk_secretsmanager::Client::from_conf(config)))
}

async fn with_secret(status: &'static str, body: String) -> Result<Vec<Vec<Option<String>>>, Error> {
    let context = Context { secrets: Some(secrets(status, body).await), ..context() };
    let options = config::Postgres { connect: Connect::Secret("dmp/replica".into()), ..options("", "SELECT 1 AS n") };
    rows(postgres::open(&options, &context).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_leads_to_the_database_or_says_what_it_lacks() {
    let url = shared().await;
    let (host, port) = address(url).split_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let secret = |text: String| serde_json::json!({ "Name": "dmp/replica", "SecretString": text }).to_string();
    let keys = |password: &str| {
        serde_json::json!({
            "engine": "postgres", "username": "turntable", "password": password, "host": &host,
            "port": port.parse::<u16>().unwrap(), "sslmode": "disable",
        })
        .to_string()
    };
    let one = [[Some("1".to_owned())]];
    assert_eq!(with_secret("200 OK", secret(keys("secret"))).await.unwrap(), one);
    assert_eq!(with_secret("200 OK", secret(url.to_owned())).await.unwrap(), one);
    let wrong = with_secret("200 OK", secret(keys("wrong"))).await.unwrap_err();
    check(
        &wrong,
        Kind::Config,
        &format!(
            "PostgreSQL at {host}:{port} rejected the password of user \"turntable\": correct it in secret \"dmp/replica\""
        ),
    );
    let lacking = with_secret("200 OK", secret("{\"username\":\"u\",\"host\":\"h\"}".into())).await.unwrap_err();
    check(
        &lacking,
        Kind::Config,
        "secret \"dmp/replica\" has no key \"password\": expected username, password, host and, optionally, port, \
         dbname, sslmode, sslrootcert",
    );
    let fault = |code: &str| serde_json::json!({ "__type": code, "Message": "no" }).to_string();
    check(
        &with_secret("400 Bad Request", fault("ResourceNotFoundException")).await.unwrap_err(),
        Kind::Config,
        "secret \"dmp/replica\": not found in Secrets Manager in this region: check the name or ARN",
    );
    check(
        &with_secret("400 Bad Request", fault("AccessDeniedException")).await.unwrap_err(),
        Kind::Config,
        "secret \"dmp/replica\": access denied: allow secretsmanager:GetSecretValue (and kms:Decrypt, if the secret has \
         its own KMS key)",
    );
    check(
        &with_secret("400 Bad Request", fault("InternalServiceError")).await.unwrap_err(),
        Kind::Unavailable,
        "secret \"dmp/replica\": the request to Secrets Manager failed: invoke the function again",
    );
    let options = config::Postgres { connect: Connect::Secret("dmp".into()), ..options("", "SELECT 1 AS n") };
    let nowhere = Arc::new(postgres::open(&options, &context()).await.err().unwrap());
    check(
        &nowhere,
        Kind::Config,
        "secret \"dmp\" can't be read, because no Secrets Manager client is configured: set url instead of secret",
    );
    assert!(fetch(url, "SELECT 1 AS n").await.is_ok());
}

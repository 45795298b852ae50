//! Sessions: timeouts, IAM tokens, replicas.

use std::{sync::Arc, time::Duration};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use jiff::{SignedDuration, Timestamp};
use tests::postgres::Postgres;
use turntable::{
    aws::rds::Signer,
    config::{self, Auth, Session},
    error::{Kind, Result},
    port::TokenSigner,
    sources::{Context, postgres},
};

use super::{context, options, rows, run, shared};

async fn with(url: &str, query: &str, session: Session) -> Result<Vec<Vec<Option<String>>>> {
    let options = config::Postgres { session, ..options(url, query) };
    rows(postgres::open(&options, &context()).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_datasets_own_time_out_ends_a_copy() {
    let url = shared().await;
    run(
        url,
        "CREATE ROLE hasty LOGIN PASSWORD 'secret'; ALTER ROLE hasty SET statement_timeout = '100ms'; \
         ALTER ROLE hasty SET idle_in_transaction_session_timeout = '100ms'",
    )
    .await;
    let hasty = url.replace("turntable:", "hasty:");
    let slow = "SELECT g AS n, pg_sleep(0.2)::text AS s FROM generate_series(1, 3) g";
    assert_eq!(with(&hasty, slow, Session::default()).await.unwrap().len(), 3);
    let limit = Some(SignedDuration::from_millis(300));
    let error = with(&hasty, slow, Session { statement_timeout: limit, ..Session::default() }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let text = "canceling statement due to statement timeout; nothing was published; try again";
    assert!(error.message().ends_with(text), "{}", error.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_datasets_timeout_overrides_the_urls() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:p@{}/d?connect_timeout=60", silent.local_addr().unwrap());
    let session = Session { connect_timeout: Some(SignedDuration::from_secs(1)), ..Session::default() };
    let error = tokio::time::timeout(Duration::from_secs(10), with(&url, "SELECT 1 AS n", session)).await;
    assert!(error.unwrap().unwrap_err().message().contains("did not respond within 1 s"));
}

async fn with_token(url: &str, iam: Option<Arc<dyn TokenSigner>>) -> Result<Vec<Vec<Option<String>>>> {
    let session = Session { auth: Auth::Iam, ..Session::default() };
    let options = config::Postgres { session, ..options(url, "SELECT 1 AS n") };
    rows(
        postgres::open(&options, &Context { iam, now: Timestamp::from_second(1_724_709_600).unwrap(), ..context() })
            .await?,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iam_token_requires_a_verified_server() {
    let credentials = SharedCredentialsProvider::new(Credentials::new("akid", "secret", None, None, "test"));
    let signer = Signer { credentials, region: "eu-central-1".into() };
    let port = shared().await.rsplit(':').next().unwrap().replace("/postgres", "");
    let url = |rest: &str| format!("postgres://app@localhost:{port}/postgres{rest}");
    let fault = async |url: &str, iam: Option<Arc<dyn TokenSigner>>| {
        let error = with_token(url, iam).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{}", error.message());
        error.message().to_owned()
    };
    let some: Option<Arc<dyn TokenSigner>> = Some(Arc::new(signer));
    for weak in ["disable", "allow", "prefer", "require"] {
        assert_eq!(
            fault(&url(&format!("?sslmode={weak}")), some.clone()).await,
            "url: auth = \"iam\" needs sslmode verify-full or verify-ca: anyone who intercepts a token can use it"
        );
    }
    assert_eq!(
        fault(&url("").replace("app@", "app:secret@"), some.clone()).await,
        "url: auth = \"iam\" can't be combined with a password: remove one of them"
    );
    assert_eq!(fault(&url(""), None).await, "url: auth = \"iam\" needs AWS credentials and a region");
    assert_eq!(
        fault(&url("").replace("localhost", "a,b"), some.clone()).await,
        "url: auth = \"iam\" needs exactly one host"
    );
    // verify-full is the default. This server has no TLS, so the source doesn't send it a token.
    assert_eq!(
        fault(&url(""), some).await,
        format!(
            "PostgreSQL at localhost:{port}: TLS connection failed (server does not support TLS): enable TLS on the server, \
             or set sslmode = disable in url; without TLS, anyone on the network path can read everything"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_replica_works_also_in_parts() {
    let (server, replica) = tokio::task::spawn_blocking(|| {
        let server = Postgres::start();
        let replica = server.replica();
        (server, replica)
    })
    .await
    .unwrap();
    run(&server.url(), "CREATE TABLE followed AS SELECT g AS id FROM generate_series(1, 30000) g; ANALYZE followed")
        .await;
    let url = replica.url();
    let there = "SELECT pg_is_in_recovery() AS r, to_regclass('followed') IS NOT NULL AS t";
    let patience = std::time::Instant::now() + Duration::from_secs(30);
    while run(&url, there).await != [[Some("t".to_owned()), Some("t".to_owned())]] {
        assert!(std::time::Instant::now() < patience, "the replica does not follow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (parallel, split_by) in [(1, None), (3, None), (3, Some("id"))] {
        let options = config::Postgres {
            parallel,
            split_by: split_by.map(Into::into),
            ..options(&url, "SELECT id FROM followed")
        };
        let opened = postgres::open(&options, &context()).await.unwrap();
        assert_eq!(opened.rows.streams.len(), parallel as usize);
        assert_eq!(rows(opened).await.unwrap().len(), 30_000);
    }
}

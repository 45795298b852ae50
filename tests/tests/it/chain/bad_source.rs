//! Unreadable sources: Lambda's answer says what failed, where, and what to do, and never shows a row's value.

use serde_json::json;
use tests::postgres::{PASSWORD, USER};

use super::{Chain, sql};

const COLUMNS: &str = r#"columns = { id = "bigint", name = "string" }"#;

async fn failing(chain: &Chain, source: &str) -> (String, String) {
    chain.datasets(&format!("[datasets.users]\nsource = {source}\n")).await;
    let refused = chain.answer("export", &json!({ "dataset": "users" })).await.unwrap_err();
    assert_eq!(chain.left("schemas/").await, Vec::<String>::new(), "{refused}");
    (refused.error_type, refused.error_message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_fit_names_file_line_and_column_and_not_its_value() {
    let chain = Chain::start("").await;
    let source = format!("{{ files = {{ location = \"s3://${{BUCKET}}/in/\", {COLUMNS} }} }}");
    const SECRET: &str = "hunter2";
    let cases = [
        (format!("id,name\n1,a\n2,{SECRET},3\n"), "line 3: field count is 3, expected 2 as in the header"),
        (format!("id,name\n1,a\n2,b\n{SECRET}\n"), "line 4: field count is 1, expected 2 as in the header"),
        (format!("id,name\n1,\"a\nb\"\n{SECRET},c\n"), "line 4: column \"id\" (bigint): not a whole number"),
        (format!("id,name\n92233720368547758070,{SECRET}\n"), "line 2: column \"id\" (bigint): out of range"),
        (
            format!("id,nom\n1,{SECRET}\n"),
            "line 1: the header doesn't match the declared columns: missing \"name\"; unexpected \"nom\"",
        ),
    ];
    for (csv, text) in cases {
        chain.put("in/good.csv", "id,name\n1,a\n").await.unwrap();
        chain.put("in/users.csv", csv).await.unwrap();
        let (of, message) = failing(&chain, &source).await;
        assert_eq!(message, chain.named(&format!("s3://${{BUCKET}}/in/users.csv: {text}")));
        assert_eq!(of, "Input");
    }
    let failed = async || Some(chain.lines("export", "failed").await).filter(|lines| lines.len() == 5);
    let failed = chain.until("five logged failures", failed).await;
    assert!(failed.iter().all(|line| line["dataset"] == "users" && line["kind"] == "Input"), "{failed:?}");
    let logs = serde_json::Value::from(chain.all_logs().await).to_string();
    assert!(!logs.contains(SECRET) && !logs.contains("9223372036854775807"), "{logs}");
    assert_eq!(chain.unfinished_uploads().await, 0);

    // An empty location becomes an empty generation only if its columns are declared.
    let nothing = "{ files = { location = \"s3://${BUCKET}/nothing/\" } }";
    let (of, message) = failing(&chain, nothing).await;
    let text = chain.named(
        "s3://${BUCKET}/nothing/ has no objects: put one there, or declare source.files.columns to publish an empty table",
    );
    assert_eq!((of.as_str(), message), ("Input", text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_or_a_secret_that_is_missing_is_named() {
    let chain = Chain::start("").await;
    let source = format!("{{ files = {{ location = \"s3://no-such-bucket-here/in/\", {COLUMNS} }} }}");
    let (of, message) = failing(&chain, &source).await;
    assert_eq!(of, "Config");
    let text = "s3://no-such-bucket-here/in/: no such bucket: create it, or correct the location in datasets.toml";
    assert!(message.starts_with(text), "{message}");

    let (of, message) = failing(&chain, "{ postgres = { secret = \"dmp/replica\", query = \"SELECT 1 AS n\" } }").await;
    assert_eq!(of, "Config");
    let text = "secret \"dmp/replica\": not found in Secrets Manager in this region";
    assert!(message.starts_with(text), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_or_dies_says_so_and_nothing_is_left() {
    let server = sql::start().await;
    let (url, port, database) = (server.url(), server.port(), server.name());
    let chain = Chain::start("").await;
    let of_url = |url: &str, query: &str| format!("{{ postgres = {{ url = \"{url}\", query = \"{query}\" }} }}");

    sql::run(&url, "CREATE TABLE users AS SELECT 1 AS id").await;
    let (of, message) = failing(&chain, &of_url(&url, "SELECT id, naem FROM users")).await;
    assert_eq!(of, "Input");
    assert_eq!(
        message,
        format!(
            "PostgreSQL at {USER}@127.0.0.1:{port}/{database} rejected the query: column \"naem\" does not exist (at \
             character 12 of the query)"
        )
    );

    let wrong = url.replace(PASSWORD, "wrong");
    let (of, message) = failing(&chain, &of_url(&wrong, "SELECT 1 AS n")).await;
    let refuses = format!("PostgreSQL at 127.0.0.1:{port} rejected the password of user \"{USER}\": correct it in ");
    assert_eq!((of.as_str(), message), ("Config", format!("{refuses}url")));

    let secrets = aws_sdk_secretsmanager::Client::new(&chain.aws);
    secrets.create_secret().name("dmp/replica").secret_string(&wrong).send().await.unwrap();
    let from_secret = "{ postgres = { secret = \"dmp/replica\", query = \"SELECT id FROM users\" } }";
    let (of, message) = failing(&chain, from_secret).await;
    assert_eq!((of.as_str(), message), ("Config", format!("{refuses}secret \"dmp/replica\"")));

    dies(&chain, &url).await;

    secrets.put_secret_value().secret_id("dmp/replica").secret_string(&url).send().await.unwrap();
    chain.datasets(&format!("[datasets.users]\nsource = {from_secret}\n")).await;
    assert_eq!(chain.ask("export", &json!({ "dataset": "users" })).await["rows"], 1);
    let logs = serde_json::Value::from(chain.all_logs().await).to_string();
    assert!(!logs.contains("wrong") && !logs.contains(&format!(":{PASSWORD}@")), "{logs}");
}

/// Ends the database session in the middle of a copy, once parts of the first file have been uploaded.
async fn dies(chain: &Chain, url: &str) {
    let port = url.rsplit(':').next().unwrap();
    let query = "SELECT i, md5(i::text) AS a, md5((-i)::text) AS b, CASE WHEN i > 600000 THEN pg_sleep(0.01)::text END AS c \
                 FROM generate_series(1, 100000000) AS i";
    let source = format!("{{ postgres = {{ url = \"{url}\", query = \"{query}\" }} }}");
    chain.datasets(&format!("[datasets.users]\nparquet = {{ row_group_mb = 1 }}\nsource = {source}\n")).await;
    let event = json!({ "dataset": "users" });
    let kill = async {
        let head = async || (chain.unfinished_uploads().await == 1).then_some(());
        chain.until("an upload that has begun", head).await;
        let of = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                  WHERE application_name = 'turntable' AND datname = current_database()";
        assert_eq!(sql::run(url, of).await[0][0].as_deref(), Some("1"));
    };
    let (answer, ()) = tokio::join!(chain.answer("export", &event), kill);
    let refused = answer.unwrap_err();
    assert_eq!(refused.error_type, "Unavailable");
    let text = &refused.error_message;
    assert!(text.starts_with(&format!("PostgreSQL at {USER}@127.0.0.1:{port}")), "{text}");
    assert!(text.ends_with("; nothing was published; try again"), "{text}");
    let rows = text.split(" after ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|rows| rows.parse().ok());
    assert!(rows.is_some_and(|rows: u64| rows > 100_000), "{text}");
    assert_eq!(chain.left("schemas/").await, Vec::<String>::new());
    assert_eq!(chain.unfinished_uploads().await, 0);
}

//! The server's warnings: each is an error, unless the dataset allows its code.

use super::{context, fault, is_skipped, options, rows, run, shared};
use turntable::{
    config,
    error::{Kind, Result},
    sources::mysql,
};

async fn allowing(url: &str, query: &str, allow_warnings: Vec<u16>) -> Result<usize> {
    let options = config::Mysql { allow_warnings, ..options(url, query) };
    Ok(rows(mysql::open(&options, &context()).await?).await?.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_fails_the_export_unless_its_code_is_allowed() {
    let server = shared().await;
    let url = server.url();
    let name = url.replace("mysql://turntable:secret", "turntable");
    for (query, code, named) in [
        ("SELECT seq, repeat('x', seq * 1000000) AS r FROM seq_67_to_69", 1301, "ER_WARN_ALLOWED_PACKET_OVERFLOWED"),
        ("SELECT seq, 1 / (seq % 9000) AS q FROM seq_1_to_9000", 1365, "ER_DIVISION_BY_ZERO (Division by 0)"),
        (
            "SELECT seq, CAST(concat(seq, 'hunter2') AS signed) AS n FROM seq_1_to_90",
            1292,
            "ER_TRUNCATED_WRONG_VALUE, ",
        ),
        ("SELECT seq FROM seq_1_to_1000 LIMIT ROWS EXAMINED 10", 1931, "ER_QUERY_RESULT_INCOMPLETE"),
        ("SELECT seq, CONVERT(_sjis X'878A' USING utf8mb4) AS t FROM seq_1_to_3", 1977, "ER_CANNOT_CONVERT_CHARACTER"),
    ] {
        if [1931, 1977].contains(&code) && is_skipped(server, named) {
            continue;
        }
        let error = fault(&url, query).await;
        assert_eq!(error.kind(), Kind::Input);
        let text = error.report();
        let start = format!("MySQL at {name}: ");
        assert!(text.starts_with(&start) && text.contains(&format!("raised warnings: {code} {named}")), "{text}");
        assert!(text.ends_with(&format!("or accept these warnings with allow_warnings = [{code}]")), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(allowing(&url, query, vec![code]).await.is_ok(), "{query}");
        assert!(allowing(&url, query, vec![9999]).await.is_err(), "{query}");
    }
}

/// MySQL lets only some users raise the number of warnings that it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_privileges_can_read_and_more_warnings_than_are_kept_are_an_error() {
    let server = shared().await;
    run(
        server,
        "CREATE USER reads_only@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT SELECT ON shop.* TO reads_only@'127.0.0.1'",
    )
    .await;
    let url = server.url().replace("turntable:", "reads_only:");
    assert_eq!(allowing(&url, "SELECT seq AS n FROM seq_1_to_9", Vec::new()).await.unwrap(), 9);
    let kept = if server.is_mysql() { 1024 } else { 65_535 };
    let query =
        |count: usize| format!("SELECT 1 / (a.seq - a.seq) AS q FROM seq_1_to_30000 a, seq_1_to_3 b LIMIT {count}");
    assert_eq!(allowing(&url, &query(kept), vec![1365]).await.unwrap(), kept);
    let error = allowing(&url, &query(kept + 1), vec![1365]).await.unwrap_err();
    assert!(error.message().contains(&format!("raised {} warnings and keeps {kept}, so", kept + 1)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_not_blamed_for_the_warnings_of_the_one_before_it() {
    let url = shared().await.url();
    let first =
        config::Mysql { allow_warnings: vec![1365], ..options(&url, "SELECT 1 / (seq - 1) AS q FROM seq_1_to_3") };
    let snapshot = mysql::Snapshot::take(&first, &context()).await.unwrap();
    assert_eq!(rows(snapshot.open(&first, &context()).await.unwrap()).await.unwrap().len(), 3);
    let second = options(&url, "SELECT seq AS n FROM seq_1_to_3");
    assert_eq!(rows(snapshot.open(&second, &context()).await.unwrap()).await.unwrap().len(), 3);
    let third = options(&url, "SELECT 1 / (seq - 1) AS q FROM seq_1_to_3");
    let error = match snapshot.open(&third, &context()).await {
        Ok(opened) => rows(opened).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.message().contains("allow_warnings = [1365]"), "{error}");
    snapshot.end().await;
}

//! Every character set that the server lists, with every code that it stores.

use std::collections::BTreeMap;

use arrow_array::{Array, StringArray};
use futures::TryStreamExt;
use tests::mariadb::Mariadb;
use turntable::{config::OnUnrepresentable, error::Kind, sources::mysql};

use super::{Context, context, fault, fetch, options, run, shared};

/// By character set: how many codes the server's own clients show as `?`, while Turntable publishes the right
/// characters.
const RESCUED: [(&str, usize); 7] =
    [("sjis", 2725), ("ujis", 189), ("gb2312", 33), ("gbk", 2148), ("big5", 34), ("cp1256", 8), ("greek", 3)];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Creates a table with each code that the character set stores, and returns what the server's own client shows.
async fn fill(server: &'static Mariadb, charset: &str, longest: u8) -> BTreeMap<String, String> {
    let mut codes: Vec<Vec<u8>> = (0..=255).map(|one| vec![one]).collect();
    if longest > 1 {
        codes.extend((0x81..=0xfe).flat_map(|one| (0x40..=0xfe).map(move |two| vec![one, two])));
    }
    if longest > 2 {
        codes.extend((0xa1..=0xfe).flat_map(|two| (0xa1..=0xfe).map(move |three| vec![0x8f, two, three])));
    }
    let table = format!("codes_{charset}");
    let engine = if server.is_mysql() { "InnoDB" } else { "Aria" };
    let values: Vec<String> = codes.iter().map(|code| format!("(X'{0}', X'{0}')", hex(code))).collect();
    run(
        server,
        format!(
            "SET sql_mode = ''; CREATE TABLE {table} (code varbinary(4) PRIMARY KEY, \
             t varchar(4) CHARACTER SET {charset}) ENGINE = {engine}; INSERT IGNORE INTO {table} VALUES {}; \
             DELETE FROM {table} WHERE CAST(t AS binary) <> code",
            values.join(", ")
        ),
    )
    .await;
    let shown = run(server, format!("SELECT hex(code), hex(CONVERT(t USING utf8mb4)) FROM {table}")).await;
    shown.into_iter().map(|mut row| (row.remove(0).unwrap(), row.remove(0).unwrap())).collect()
}

/// Returns each code's text as it is published, in hex, or `None` for a code that has no character.
async fn published(url: &str, charset: &str) -> BTreeMap<String, Option<String>> {
    let context = Context { on_unrepresentable: OnUnrepresentable::Null, ..context() };
    let query = options(url, &format!("SELECT hex(code) AS code, t FROM codes_{charset}"));
    let mut opened = mysql::open(&query, &context).await.unwrap();
    let batches: Vec<_> = opened.rows.streams.remove(0).try_collect().await.unwrap();
    let mut found = BTreeMap::new();
    for batch in batches {
        let text = |at: usize| batch.column(at).as_any().downcast_ref::<StringArray>().unwrap();
        let (codes, texts) = (text(0), text(1));
        found.extend((0..batch.num_rows()).map(|row| {
            let text = texts.is_valid(row).then(|| hex(texts.value(row).as_bytes()));
            (codes.value(row).to_owned(), text)
        }));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_is_the_character_that_clients_show_or_what_they_fail_to_show() {
    let server = shared().await;
    let listed = run(server, "SELECT character_set_name, maxlen FROM information_schema.character_sets").await;
    assert!(listed.len() > 38, "{}", listed.len());
    for row in listed {
        let (charset, longest) = (row[0].clone().unwrap(), row[1].clone().unwrap().parse().unwrap());
        // Those are forms of Unicode, which the next test covers.
        if charset == "binary" || charset.starts_with("utf") || charset == "ucs2" {
            continue;
        }
        let (shown, published) = (fill(server, &charset, longest).await, published(&server.url(), &charset).await);
        assert_eq!(shown.len(), published.len(), "{charset}");
        let mut rescued = 0;
        for (code, shown) in &shown {
            let published = &published[code];
            let is_question = !shown.is_empty() && shown.as_bytes().chunks(2).all(|byte| byte == b"3F");
            let is_lost = (shown == "EFBFBD" || is_question) && code != "3F";
            if is_lost {
                assert!(!matches!(published.as_deref(), Some("3F" | "EFBFBD")), "{charset} {code}");
                rescued += usize::from(published.is_some());
            } else {
                assert_eq!(published.as_deref(), Some(shown.as_str()), "{charset} {code}");
            }
        }
        // MySQL's tables have other gaps.
        if server.is_mysql() {
            continue;
        }
        let expected = RESCUED.iter().find(|(name, _)| *name == charset).map_or(0, |(_, count)| *count);
        assert_eq!(rescued, expected, "{charset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_that_the_server_would_replace_are_published() {
    let server = shared().await;
    let collation = if server.is_mysql() { "utf16_unicode_520_ci" } else { "utf16_uca1400_ai_ci" };
    let sql =
        "CREATE TABLE replaced (s varchar(9) CHARACTER SET sjis, u text CHARACTER SET ujis, c char(9) CHARACTER SET cp932,
           e enum('渡', '辺') CHARACTER SET sjis, g set('あ', 'い') CHARACTER SET ujis, w varchar(9) CHARACTER SET utf16,
           l varchar(9) CHARACTER SET utf16le, x varchar(9) CHARACTER SET utf32, y varchar(9) CHARACTER SET ucs2,
           k varchar(9) COLLATE COLLATION, a varchar(9) CHARACTER SET latin1);
         INSERT INTO replaced VALUES
           (X'8740878AFBFC', X'ADA1ADEA8FF4FB', X'8740878AFBFC', '辺', 'い', '髙🎡', '髙🎡', '髙🎡', '髙', '🎡', 'café€')";
    run(server, sql.replace("COLLATION", collation)).await;
    let found = fetch(&server.url(), "SELECT * FROM replaced").await.unwrap();
    let found: Vec<&str> = found[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
    assert_eq!(found, ["①㈱髙", "①㈱髙", "①㈱髙", "辺", "い", "髙🎡", "髙🎡", "髙🎡", "髙", "🎡", "café€"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_without_a_character_is_named_by_its_row() {
    let server = shared().await;
    run(
        server,
        "CREATE TABLE undefined (id int, t varchar(9) CHARACTER SET ujis);
         INSERT INTO undefined VALUES (1, 'ok'), (2, X'A9A1')",
    )
    .await;
    let error = fault(&server.url(), "SELECT id, t FROM undefined ORDER BY id").await;
    assert_eq!(error.kind(), Kind::Input, "{error}");
    let text = error.report();
    assert!(text.contains("row 2") && text.contains("a code that its character set doesn't define"), "{text}");
}

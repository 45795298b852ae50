//! Databases in every encoding that the server has: each string is converted as the server itself converts it, and a
//! string that can't be converted affects only its own value.

use turntable::{
    config::{self, OnUnrepresentable},
    error::Result,
    sources::{Context, postgres},
};

use super::{context, fault, open, options, rows, run, shared};

type Rows = Vec<Vec<Option<String>>>;

/// Creates a database with this name, and returns its URL.
async fn database(name: &str, encoding: &str) -> String {
    let url = shared().await;
    let sql = format!("CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    run(url, &sql).await;
    url.replace("/postgres", &format!("/{name}"))
}

/// Returns the rows, with NULL for each value that has no UTF-8 form, and the number of these values.
async fn lenient(url: &str, query: &str, split_by: Option<&str>) -> Result<(Rows, u64)> {
    let context = Context { on_unrepresentable: OnUnrepresentable::Null, ..context() };
    let parallel = if split_by.is_some() { 3 } else { 1 };
    let options = config::Postgres { parallel, split_by: split_by.map(Into::into), ..options(url, query) };
    let opened = postgres::open(&options, &context).await?;
    let unrepresentable = opened.unrepresentable.clone();
    let rows = rows(opened).await?;
    Ok((rows, unrepresentable.nulled().values().sum()))
}

/// SQL that fills the table `bytes` with every byte from 128 to 255 and, in a multibyte encoding, with some longer
/// codes. `form` converts a code to UTF-8 in hex and `stored` to text; both return null for a code that the server
/// can't convert.
const CHARACTERS: &str = "
    CREATE FUNCTION form(b bytea, e text) RETURNS text LANGUAGE plpgsql AS
      'BEGIN RETURN encode(convert(b, e, ''UTF8''), ''hex''); EXCEPTION WHEN OTHERS THEN RETURN NULL; END';
    CREATE FUNCTION stored(b bytea, e text) RETURNS text LANGUAGE plpgsql AS
      'BEGIN RETURN convert_from(b, e); EXCEPTION WHEN OTHERS THEN RETURN NULL; END';
    CREATE TABLE bytes AS SELECT set_byte('\\x00', 0, g) AS b FROM generate_series(128, 255) g;
    INSERT INTO bytes SELECT h.b || l.b FROM bytes h, bytes l WHERE pg_encoding_max_length(0) < pg_encoding_max_length(pg_char_to_encoding(
      getdatabaseencoding())) AND (get_byte(h.b, 0) + get_byte(l.b, 0)) % 5 = 0;
    INSERT INTO bytes SELECT '\\x8f'::bytea || b FROM bytes WHERE length(b) = 2 AND get_byte(b, 0) IN (162, 176, 253);
    INSERT INTO bytes SELECT '\\x8ea2'::bytea || b FROM bytes WHERE length(b) = 2 AND get_byte(b, 0) IN (161, 196);";

#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_is_converted_as_the_server_does() {
    let all = "SELECT pg_encoding_to_char(e) FROM generate_series(0, 34) e WHERE pg_encoding_to_char(e) NOT IN ('', 'UTF8', 'SQL_ASCII', 'MULE_INTERNAL')";
    let all: Vec<String> = run(shared().await, all).await.into_iter().filter_map(|mut row| row.remove(0)).collect();
    assert!(all.len() > 30, "{all:?}");
    let mut faults = Vec::new();
    let mut unconvertible = 0;
    for encoding in &all {
        let name = format!("all_{}", encoding.to_lowercase());
        let url = database(&name, encoding).await;
        let create = format!(
            "{CHARACTERS} CREATE TABLE texts AS SELECT row_number() OVER (ORDER BY b) AS id, stored(b, '{encoding}') AS t,
               form(b, '{encoding}') AS form FROM bytes WHERE stored(b, '{encoding}') IS NOT NULL; ANALYZE texts"
        );
        run(&url, &create).await;
        let (found, nulled) = lenient(&url, "SELECT id, t, form FROM texts ORDER BY id", None).await.unwrap();
        assert!(found.len() > 50, "{encoding}: {}", found.len());
        let mut without = 0;
        for row in &found {
            let hex = row[1].as_ref().map(|text| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
            without += u64::from(row[2].is_none());
            if hex != row[2] {
                faults.push(format!("{encoding}, row {:?}: {hex:?}, expected {:?}", row[0], row[2]));
            }
        }
        if nulled != without {
            faults.push(format!("{encoding}: {nulled} nulled, expected {without}"));
        }
        unconvertible += without;
        run(shared().await, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
    assert!(faults.is_empty(), "{}", faults[..faults.len().min(20)].join("\n"));
    assert!(unconvertible > 500, "{unconvertible}");
    // The server has no conversion from this encoding to UTF-8, and says so.
    let url = database("all_mule", "MULE_INTERNAL").await;
    let error = fault(&url, "SELECT 1 AS n").await;
    let text = "returned an error: conversion between UTF8 and MULE_INTERNAL is not supported";
    assert!(error.message().ends_with(text), "{}", error.message());
    run(shared().await, "DROP DATABASE all_mule").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_without_a_utf8_form_names_its_column_and_row_or_becomes_null() {
    let legacy = "replace it in the query, or select convert_to(…)";
    for (encoding, good, bad, what) in [
        (
            "EUC_JP",
            "\\xc5cfcad5",
            "\\xf5a1",
            format!("text with a character that the server can't convert to UTF-8: {legacy}"),
        ),
        ("SQL_ASCII", "\\xe6b8a1e8beba", "\\xff", "text that is not valid UTF-8: cast it to bytea".to_owned()),
    ] {
        let name = format!("one_{}", encoding.to_lowercase());
        let url = database(&name, encoding).await;
        run(
            &url,
            &format!(
                "CREATE TYPE pair AS (n int, label text); CREATE TYPE mood AS ENUM ('fine');
                 CREATE TABLE texts AS SELECT g AS id, convert_from(CASE g WHEN 8 THEN '{bad}'::bytea ELSE '{good}' END, '{encoding}') AS name,
                   'fine'::mood AS mood FROM generate_series(1, 9000) g; ANALYZE texts;
                 CREATE TABLE nested AS SELECT 1 AS id, ARRAY[name, 'b'] AS list, ROW(1, name)::pair AS pair, name::varchar(9) AS v,
                   to_json(name) AS j, name::char(3) AS c FROM texts WHERE id = 8"
            ),
        )
        .await;
        let text = |text: &str| Some(text.to_owned());
        let or = "or set on_unrepresentable = \"null\" to store NULL";
        let error = fault(&url, "SELECT id, name FROM texts ORDER BY id").await;
        assert_eq!(error.message(), format!("table dmp.t, column \"name\", row 8: {what}, {or}"));
        let (found, nulled) = lenient(&url, "SELECT id, name, mood FROM texts ORDER BY id", None).await.unwrap();
        assert_eq!((found.len(), nulled), (9000, 1));
        assert_eq!(found[6..8], [[text("7"), text("渡辺"), text("fine")], [text("8"), None, text("fine")]]);
        // A query may itself contain text, in UTF-8, and may be split by a text column.
        let query = "SELECT id, name FROM texts WHERE name = '渡辺'";
        assert_eq!(lenient(&url, query, Some("name")).await.unwrap().0.len(), 8999);
        let (found, nulled) = lenient(&url, "SELECT id, name FROM texts", Some("name")).await.unwrap();
        assert_eq!((found.len(), nulled), (9000, 1));
        let (found, nulled) =
            lenient(&url, "SELECT list, (pair).label AS label, v, j, c FROM nested", None).await.unwrap();
        assert_eq!((found, nulled), (vec![vec![text("{NULL,b}"), None, None, None, None]], 5));
        let opened = open(&url, "SELECT pair FROM nested").await.unwrap();
        let error = rows(opened).await.unwrap_err();
        assert!(error.message().starts_with("table dmp.t, column \"pair\", row 1: text "), "{}", error.message());
        run(shared().await, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
}

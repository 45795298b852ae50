//! A table of many types from PostgreSQL to Athena: every value is the same in both.

use serde_json::json;

use super::{Chain, compare::compare, sql};

const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('嬉しい', 'so so', 'sad');
    CREATE DOMAIN price AS numeric(8,3) CHECK (VALUE >= 0);
    CREATE DOMAIN year AS integer CHECK (VALUE BETWEEN 1901 AND 2155);
    CREATE TABLE kinds (
        id bigint PRIMARY KEY, small smallint, whole integer, flag boolean, mood mood, price price, made year,
        numbers int[], tags text[], moods mood[], exact numeric(12,4), free numeric, half real, twice double precision,
        name text NOT NULL, short varchar(10), padded char(8), bytes bytea, words tsvector, day date,
        moment timestamp, at timestamptz, key uuid, data jsonb, raw json, span interval, clock time, net inet);
    INSERT INTO kinds
    SELECT i, i % 32767, -i, i % 3 = 0, (ARRAY['嬉しい', 'so so', 'sad'])[1 + i % 3]::mood, i * 1.005, 1901 + i % 250,
        ARRAY[i, NULL, -i], ARRAY['あ' || i, NULL, '', 'a,b'], ARRAY['sad', NULL]::mood[], i * -1.0001,
        i * 10 ^ (i % 40), i * 0.5, i * -0.25, '渡邊 髙﨑 ' || i || E'\\t\"''\\\\', left('名前' || i, 10), 'ab' || i % 9,
        decode(md5(i::text), 'hex'), to_tsvector('simple', 'fat cat ' || i), date '1899-12-30' + i * 40,
        timestamp '1969-12-31 23:59:59.001' + i * interval '37 hours 1 millisecond',
        timestamptz '2024-02-29 23:59:59.999+09' + i * interval '31 minutes 7 milliseconds',
        md5(i::text)::uuid, jsonb_build_object('名', i, 'x', NULL), '{\"a\" :  [1,2]}', i * interval '1 hour',
        time '00:00' + i * interval '1 minute', '10.0.0.1'::inet + i
    FROM generate_series(1, 700) AS i;
    INSERT INTO kinds (id, name) VALUES (0, ''), (-5, 'all null');
    INSERT INTO kinds (id, name, numbers, tags, bytes, padded, words, short)
    VALUES (9223372036854775807, '𠮷野家 🎡', '{}', '{}', '', '', '', '');
    CREATE TABLE empty (LIKE kinds);
    CREATE TABLE keyless AS SELECT i % 5 AS a, NULL::text AS b FROM generate_series(1, 50) AS i;
    CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
    INSERT INTO parts SELECT i, date '2024-01-01' + i FROM generate_series(0, 50) AS i;";

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_the_same_in_athena() {
    let server = sql::start().await;
    let url = server.url();
    sql::run(&url, SCHEMA).await;
    let tables = ["kinds", "empty", "keyless", "parts"];
    let chain = Chain::start(&datasets(&url, "public", &tables)).await;
    chain.ask("export", &json!({})).await;
    for table in tables {
        chain.next(table, None).await;
        assert_eq!(compare(&url, &chain, table, &format!("dmp.{table}")).await, Vec::<String>::new(), "{table}");
    }

    // Checks that the comparison would find differences.
    sql::run(&url, "UPDATE kinds SET mood = 'sad', half = half + 1 WHERE id = 3; DELETE FROM parts WHERE id = 50")
        .await;
    let changed = compare(&url, &chain, "kinds", "dmp.kinds").await;
    let names: Vec<&str> = changed.iter().map(|difference| difference.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["md5(mood)", "md5(half)"]);
    assert!(compare(&url, &chain, "parts", "dmp.parts").await.len() > 4);
}

/// Returns an entry of datasets.toml for each table.
pub fn datasets(url: &str, schema: &str, tables: &[impl AsRef<str>]) -> String {
    let entry = |table: &str| {
        let query = format!("SELECT * FROM \\\"{schema}\\\".\\\"{table}\\\"");
        format!("[datasets.{table}]\nsource = {{ postgres = {{ url = \"{url}\", query = \"{query}\" }} }}\n")
    };
    tables.iter().map(|table| entry(table.as_ref())).collect()
}

//! `new-dataset` on real PostgreSQL and MariaDB servers: its output passes `check`, and the datasets can be exported.

use cli::{
    check::check,
    new_dataset::{entries, new_dataset},
    workspace::root,
};
use serde_json::json;
use tests::{mariadb::Mariadb, postgres::Database, rig::Rig};

use super::File;

/// Checks that `check` accepts a file, and that an export of the file's dataset has `rows` rows.
async fn works(text: &str, url: &str, dataset: &str, rows: u64) {
    let text = text.replace("${DATABASE_URL}", url).replace("${BUCKET}", "lake");
    let checked = check(&File::new(&text).0, None).await.unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(checked.faults, [""; 0], "{text}");
    assert!(checked.terraform.contains(&format!("module {dataset:?}")), "{}", checked.terraform);
    let rig = Rig::default();
    rig.objects.put("s3://lake/datasets.toml", text);
    match rig.export_with(rig.env(), json!({ "dataset": dataset })).await.unwrap() {
        export::Answer::Exported(exported) => assert_eq!(exported.rows, rows),
        other => panic!("{other:?}"),
    }
}

/// Returns what `new-dataset` writes for these tables. Panics if it reports errors.
async fn written(url: &str, tables: &[&str]) -> String {
    let tables: Vec<String> = tables.iter().copied().map(str::to_owned).collect();
    let found = new_dataset(url, &tables, root()).await.unwrap();
    assert_eq!(found.faults, [""; 0]);
    found.text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_postgresql_becomes_an_entry_that_runs() {
    let server = Database::create().await;
    let url = server.url();
    let client = server.client().await;
    client
        .batch_execute(
            r#"CREATE SCHEMA shop;
            CREATE TYPE shop.odd AS ("a b" int);
            CREATE TYPE shop.mood AS ENUM ('1', '2', '3');
            CREATE DOMAIN shop.code AS text NOT NULL;
            CREATE TABLE shop."Order Items" (
                id bigint PRIMARY KEY, "ID" int, "order" text NOT NULL, code shop.code, email text UNIQUE, price numeric,
                total numeric(12,2) NOT NULL, odd shop.odd, seen timestamptz NOT NULL UNIQUE, gone text, during interval, mood shop.mood, "zip code" text,
                UNIQUE ("order", total), UNIQUE (gone));
            CREATE UNIQUE INDEX ON shop."Order Items" (total) WHERE id > 5;
            CREATE UNIQUE INDEX ON shop."Order Items" (lower("order"));
            ALTER TABLE shop."Order Items" DROP COLUMN gone;
            INSERT INTO shop."Order Items" SELECT n, n, n, n, n, n, n, NULL, to_timestamp(n), '1 day', n::text::shop.mood, 'a' FROM generate_series(1, 3) n;
            CREATE TABLE empty (a int, b int, PRIMARY KEY (a, b));
            CREATE TABLE shop.empty (c int);"#,
        )
        .await
        .unwrap();

    let text = written(&url, &["shop.order items"]).await;
    let expected = r##"#:schema ./docs/datasets.schema.json

[defaults]
database = "dmp" # the Glue database
location = "s3://${BUCKET}/schemas" # the parent of the tables' folders

# ${DATABASE_URL} comes from the environment. For another database, use a variable whose name begins with TURNTABLE_.
# In AWS, replace url with secret = "NAME", a secret in Secrets Manager.

[datasets.order_items]
# left out: odd (shop.odd): column "odd": type "odd" has a field "a b", but the names of a struct's fields in Athena consist of letters, digits, _, . and $; select to_jsonb(…) of the column instead; cast it in the query to publish it
# "ID" is published as id_2: Glue's names are lower case, and id exists twice
# price (numeric) becomes a string: all its values fit numeric(18,0), so select price::numeric(18,0) AS price for a decimal; PostgreSQL rounds values with more decimals
# during (interval) becomes a string: cast it in the query for another type
# "zip code" is published as zip_code: Athena's names have only letters, digits and _
source.postgres.url = "${DATABASE_URL}" # postgres://…
source.postgres.query = '''
SELECT id, "ID" AS "id_2", "order", code, email, price, total, seen, during, mood,
  "zip code" AS "zip_code"
FROM shop."Order Items"
'''
source.postgres.split_by = "id"
checks.min_rows = 1
checks.max_shrink = 0.2
checks.not_null = ["id", "order", "code", "total", "seen"]
# unique in the database, but not checked: ["email"]: email may be null, and the check counts two rows without a key as duplicates
# unique in the database, but not checked: ["seen"]: seen is a timestamp, which Athena reads only to the millisecond
checks.unique = [["id"], ["order", "total"]]
"##;
    assert_eq!(text, expected);
    works(&text, &url, "order_items", 3).await;

    let text = written(&url, &["empty"]).await;
    let entry = "source.postgres.query = \"SELECT a, b FROM public.empty\"\nchecks.not_null = [\"a\", \"b\"]\n\
                 checks.unique = [[\"a\", \"b\"]]\n";
    assert!(text.ends_with(entry), "{text}");
    works(&text, &url, "empty", 0).await;

    let more = entries(&url, &["empty".into(), "shop.empty".into()]).await.unwrap().text;
    assert!(
        more.contains("\n\n[datasets.empty]\n")
            && more.matches("Secrets Manager").count() == 1
            && more.contains("\n\n[datasets.shop_empty]\n"),
        "{more}"
    );
    works(&format!("{}{more}", text.split_once("[datasets").unwrap().0), &url, "shop_empty", 0).await;

    let gone = "this user sees no table or view nothing'\\: try SCHEMA.TABLE";
    let found = entries(&url, &["nothing'\\".into(), "empty".into()]).await.unwrap();
    assert_eq!((found.text.matches("[datasets.").count(), found.faults), (1, vec![gone.to_owned()]), "{}", found.text);
    let none = new_dataset(&url, &["nothing'\\".into()], root()).await.unwrap();
    assert_eq!((none.text.as_str(), none.faults), ("", vec![gone.to_owned()]));
    let refused = entries(&url.replace("secret", "other"), &["empty".into()]).await.err().unwrap().to_string();
    assert!(refused.contains("rejected the password"), "{refused}");
    let other = entries("sqlite://x", &["t".into()]).await.err().unwrap().to_string();
    assert_eq!(other, "expected a URL that begins with postgres:// or mysql://");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_mariadb_becomes_an_entry_that_runs() {
    let server = tokio::task::spawn_blocking(|| {
        let server = Mariadb::shared();
        server.run(
            "CREATE TABLE `Order-Items` (id bigint PRIMARY KEY, `key` varchar(20) NOT NULL, email varchar(80) UNIQUE, \
                 wide decimal(60,2), name text NOT NULL, clock time NOT NULL, UNIQUE (`key`, name(10))); \
             INSERT INTO `Order-Items` SELECT seq, seq, seq, seq, seq, '10:00' FROM seq_1_to_5",
        );
        server
    });
    let server = server.await.unwrap();
    let text = written(&server.url(), &["Order-Items"]).await;
    let expected = r#"[datasets.order_items]
# wide (decimal(60,2)) becomes a string: a Glue decimal needs a precision of up to 38 digits: cast it in the query, if all values fit
# clock (time) becomes a string: cast it in the query for another type
source.mysql.url = "${DATABASE_URL}" # mysql://…
source.mysql.query = "SELECT `id`, `key`, `email`, `wide`, `name`, `clock` FROM `shop`.`Order-Items`"
checks.min_rows = 1
checks.max_shrink = 0.2
checks.not_null = ["id", "key", "name", "clock"]
# unique in the database, but not checked: ["email"]: email may be null, and the check counts two rows without a key as duplicates
checks.unique = [["id"], ["key", "name"]]
"#;
    assert!(text.ends_with(expected), "{text}");
    works(&text, &server.url(), "order_items", 5).await;
    let none = entries(&server.url(), &["shop.no'\\".into()]).await.unwrap();
    assert_eq!(
        none.faults.join(""),
        "this user sees no table or view shop.no'\\: try DATABASE.TABLE, in the right case"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_columns_that_need_care_come_with_a_remark() {
    let server = tokio::task::spawn_blocking(|| {
        let server = Mariadb::shared();
        server.run(
            "CREATE TABLE `顧客` (id bigint PRIMARY KEY, secret int INVISIBLE DEFAULT 7, place point); \
             CREATE TABLE `受注` (id bigint PRIMARY KEY); INSERT INTO `顧客` (id) VALUES (1), (2)",
        );
        server
    });
    let server = server.await.unwrap();
    // Two runs, as with --append, don't know of each other.
    let first = written(&server.url(), &["顧客"]).await;
    let second = entries(&server.url(), &["受注".into()]).await.unwrap().text;
    let expected = "[datasets.u9867_5ba2]
# u9867_5ba2 stands for `shop`.`顧客`, because Glue's names have only a to z, 0 to 9 and _. Choose a better name
# secret is INVISIBLE, so SELECT * doesn't show it: remove it if readers must not see it
# place (point) becomes WKB, x before y (longitude first), without its SRID
";
    assert!(first.contains(expected), "{first}");
    assert!(second.contains("[datasets.u53d7_6ce8]\n"), "{second}");
    works(&format!("{first}{second}"), &server.url(), "u9867_5ba2", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn padding_secrets_and_digits_of_postgresql_come_with_a_remark() {
    let server = Database::create().await;
    let url = server.url();
    let client = server.client().await;
    client
        .batch_execute(
            r#"CREATE TABLE accounts (id int, country char(3), password_hash text, "Api Key" text, rate numeric, odd numeric, wide numeric);
            INSERT INTO accounts VALUES (1, 'jp', 'x', 'y', 1234.5678, 'NaN', 1e30 + 1e-20), (2, NULL, NULL, NULL, -0.5, 1, NULL);"#,
        )
        .await
        .unwrap();
    let text = written(&url, &["accounts"]).await;
    let expected = r##"[datasets.accounts]
# country (character(3)) is published with the spaces that pad it: select rtrim(country) AS country for none
# password_hash is named like a secret: remove it if readers must not see it
# "Api Key" is published as api_key: Athena's names have only letters, digits and _
# api_key is named like a secret: remove it if readers must not see it
# rate (numeric) becomes a string: all its values fit numeric(18,4), so select rate::numeric(18,4) AS rate for a decimal; PostgreSQL rounds values with more decimals
# odd (numeric) becomes a string: a Glue decimal needs a precision of up to 38 digits: cast it in the query, if all values fit
# wide (numeric) becomes a string: a Glue decimal needs a precision of up to 38 digits: cast it in the query, if all values fit
"##;
    assert!(text.contains(expected), "{text}");
    let cast = "rate::numeric(18,4) AS rate";
    works(&text.replace(", rate,", &format!(", {cast},")), &url, "accounts", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_tables_of_postgresql_are_split_by_a_column_that_works() {
    let server = Database::create().await;
    let url = server.url();
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE events (tenant text, day date, id bigint, PRIMARY KEY (tenant, day, id)) PARTITION BY RANGE (day);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
             CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (tenant);
             CREATE TABLE events_2_a PARTITION OF events_2 DEFAULT;
             INSERT INTO events SELECT 'a', date '2026-01-01' + g % 50, g FROM generate_series(1, 1000) g;
             CREATE TABLE log (at timestamptz NOT NULL, line text) PARTITION BY HASH (line);
             CREATE TABLE log_1 PARTITION OF log FOR VALUES WITH (MODULUS 1, REMAINDER 0);
             INSERT INTO log SELECT to_timestamp(g), g::text FROM generate_series(1, 100) g;
             ANALYZE events; ANALYZE log;",
        )
        .await
        .unwrap();
    for (table, column, rows) in [("events", "day", 1_000), ("log", "at", 100)] {
        let text = written(&url, &[table]).await;
        let line = format!("source.postgres.split_by = \"{column}\"\n");
        assert!(text.contains(&line), "{text}");
        works(&text, &url, table, rows).await;
        works(&text.replace(&line, &format!("{line}source.postgres.parallel = 4\n")), &url, table, rows).await;
    }
    // A table with so many rows, by the database's own statistics, is read over several connections.
    client.batch_execute("UPDATE pg_class SET reltuples = 600000 WHERE relname LIKE 'events\\_%'").await.unwrap();
    let text = written(&url, &["events"]).await;
    assert!(text.contains("source.postgres.parallel = 4 # connections; the table has about 1200000 rows\n"), "{text}");
    works(&text, &url, "events", 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tables_that_the_user_may_read_are_named_by_a_pattern() {
    let server = Database::create().await;
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE SCHEMA shop; CREATE SCHEMA \"Odd.One\"; CREATE TABLE shop.orders (id int); CREATE TABLE shop.items (id int);
             CREATE TABLE shop.parts (id int) PARTITION BY RANGE (id); CREATE TABLE shop.parts_1 PARTITION OF shop.parts DEFAULT;
             CREATE VIEW shop.seen AS SELECT 1 AS id; CREATE TABLE people (id int);
             CREATE ROLE shopper LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA shop TO shopper; GRANT SELECT ON shop.orders TO shopper",
        )
        .await
        .unwrap();
    let names = async |url: &str, tables: &[&str]| -> Vec<String> {
        let text = written(url, tables).await;
        text.lines().filter_map(|line| Some(line.strip_prefix("[datasets.")?.strip_suffix(']')?.to_owned())).collect()
    };
    let url = server.url();
    assert_eq!(names(&url, &["shop.*"]).await, ["items", "orders", "parts"]);
    assert_eq!(names(&url, &["*"]).await, ["people", "items", "orders", "parts"]);
    assert_eq!(names(&url, &["people", "shop.*", "people"]).await, ["people", "items", "orders", "parts"]);
    let shopper = url.replace("turntable:", "shopper:");
    assert_eq!(names(&shopper, &["*"]).await, ["orders"]);
    let none = entries(&url, &["Odd.One.*".into()]).await.err().unwrap().to_string();
    assert_eq!(none, "this user may not read any table in schema Odd.One: grant SELECT, or name the tables");
}

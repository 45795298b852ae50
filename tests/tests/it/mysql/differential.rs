//! Random tables and queries: an export has the same rows as the server's own client. `TURNTABLE_SEED` repeats one
//! case, and `TURNTABLE_DIFFERENTIAL` sets the number of cases.

use futures::TryStreamExt;
use tests::{
    mariadb::{Mariadb, Row},
    random::{self, Random},
};
use turntable::sources::Opened;

use super::{context, open, render, rows, run, shared};
use crate::differential::{Summary, seeds, through_files, through_parquet};

/// The default number of cases.
const CASES: u64 = 8;

/// Each column's type, the SQL for its value, and the SQL for the value as text. `#` stands for a random number from 0
/// to 2^32, and `@` for the column.
const COLUMNS: [(&str, &str, &str); 15] = [
    ("tinyint", "# % 256 - 128", "@"),
    ("int unsigned", "#", "@"),
    ("bigint", "# * 1073741824 - 2305843009213693952", "@"),
    ("bigint unsigned", "CAST(# AS unsigned) * 4294967296", "@"),
    ("decimal(30,6)", "(# - 2147483648) / 1000", "@"),
    ("double", "# / 7e5", "@"),
    ("varchar(60)", "repeat(concat(char(32 + # % 95), '髙🎡\"'';\\\\'), # % 9)", "@"),
    ("varchar(60) CHARACTER SET sjis", "repeat('表ソ能', # % 9)", "CONVERT(@ USING utf8mb4)"),
    (
        "text",
        "CASE # % 4 WHEN 0 THEN '' WHEN 1 THEN 'a\\r\\nb' WHEN 2 THEN '\\\\N' ELSE left(sha2(#, 256), 32) END",
        "@",
    ),
    ("varbinary(20)", "unhex(left(sha2(#, 256), 32))", "hex(@)"),
    ("date", "date_add('1900-01-01', INTERVAL # % 80000 DAY)", "@"),
    ("datetime(6)", "date_add('1950-01-01', INTERVAL # MICROSECOND)", "@"),
    ("time(6)", "sec_to_time(# % 80000)", "@"),
    ("enum('a', '猫', '')", "1 + # % 3", "@"),
    ("json", "json_object('n', #)", "@"),
];

type Chosen = Vec<(&'static str, &'static str, &'static str)>;

/// Creates a table and returns its columns.
async fn create(server: &'static Mariadb, table: &str, random: &mut Random) -> Chosen {
    let columns: Chosen = (0..3 + random.below(5)).filter_map(|_| random.pick(&COLUMNS)).collect();
    let declared: Vec<String> = columns.iter().enumerate().map(|(at, (of, ..))| format!("c{at} {of} NULL")).collect();
    let salt = random.below(1 << 30);
    let values = columns.iter().enumerate().map(|(at, (_, make, _))| {
        let number = format!("CAST(crc32(concat_ws('-', seq, {salt}, {at})) AS signed)");
        format!("IF(({number}) % 7 > 0, {}, NULL)", make.replace('#', &format!("({number})")))
    });
    let values: Vec<String> = values.collect();
    let count = random.pick(&[1, 300, 4000]).unwrap_or_default();
    let engine = random.pick(&["InnoDB", "InnoDB", "MyISAM"]).unwrap_or_default();
    let mut sql =
        format!("CREATE TABLE {table} (id bigint PRIMARY KEY, kind int, {}) ENGINE = {engine};\n", declared.join(", "));
    sql += &format!(
        "INSERT INTO {table} SELECT CAST(seq AS signed) * 3 - 1000, seq % 11, {} FROM seq_1_to_{count};\n",
        values.join(", ")
    );
    for change in [
        format!("UPDATE {table} SET kind = NULL WHERE id % 5 = 0;\n"),
        format!("DELETE FROM {table} WHERE id BETWEEN 100 AND 900;\n"),
        format!("CREATE INDEX k ON {table} (kind);\n"),
        format!("ANALYZE TABLE {table};\n"),
    ] {
        if random.below(2) == 0 {
            sql += &change;
        }
    }
    run(server, sql).await;
    columns
}

/// Returns a query that selects `columns`, which are SQL expressions. `kind` selects the form of the query.
fn query(table: &str, kind: u64, columns: &[String]) -> String {
    let list = columns.join(", ");
    match kind {
        0 => format!("SELECT id, kind, {list} FROM {table}"),
        1 => format!("SELECT id, kind, {list} FROM {table} WHERE id % 2 = 0"),
        2 => format!("SELECT id, kind, {list} FROM {table} ORDER BY id DESC LIMIT 500"),
        3 => format!("SELECT DISTINCT kind AS id, {list} FROM {table}"),
        _ => format!("SELECT id, {list} FROM {table} UNION ALL SELECT id + 1, {list} FROM {table}"),
    }
}

/// Returns the rows from all streams.
async fn all_rows(opened: Opened) -> Vec<Row> {
    let mut found = Vec::new();
    for stream in opened.rows.streams {
        let batches: Vec<_> = stream.try_collect().await.unwrap();
        found.extend(batches.iter().flat_map(render::rows));
    }
    found
}

async fn compare(server: &'static Mariadb, seed: u64) {
    let mut random = Random::new(seed);
    let table = format!("differential{seed}");
    let columns = create(server, &table, &mut random).await;
    let plain: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
    let shown: Vec<String> =
        plain.iter().zip(&columns).map(|(name, (.., text))| format!("{} AS {name}", text.replace('@', name))).collect();
    for _ in 0..2 {
        let kind = random.below(5);
        let asked = query(&table, kind, &plain);
        let client = run(server, query(&table, kind, &shown)).await;
        let first = client.first().map_or(0, |row| row.len() - columns.len());
        let canonical = |mut rows: Vec<Row>| {
            for row in &mut rows {
                for (value, (of, ..)) in row.iter_mut().skip(first).zip(&columns) {
                    if *of == "double" {
                        *value = value.as_deref().map(render::number);
                    }
                }
            }
            Summary::of(&rows)
        };
        let what = format!("TURNTABLE_SEED={seed}: {asked}");
        let opened = open(&server.url(), &asked).await.unwrap_or_else(|error| panic!("{what}: {}", error.report()));
        let found = if random.below(2) == 0 {
            let opened = through_parquet(opened, &context(), &mut random).await;
            all_rows(opened.unwrap_or_else(|error| panic!("{what}: {error}"))).await
        } else {
            rows(opened).await.unwrap_or_else(|error| panic!("{what}: {}", error.report()))
        };
        let files = through_files(&client, &context(), &mut random).await;
        let files = files.unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = canonical(client);
        assert_eq!(canonical(found), expected, "{what}");
        assert_eq!(canonical(files), expected, "{what}: by files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_the_rows_of_the_client() {
    let server = shared().await;
    for seed in seeds(CASES) {
        random::named(seed, compare(server, seed)).await;
    }
}

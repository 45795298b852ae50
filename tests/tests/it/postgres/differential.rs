//! Random tables, queries and settings: an export has the same rows as the server's own client, or is refused.
//!
//! `TURNTABLE_SEED` repeats one case, and `TURNTABLE_DIFFERENTIAL` sets the number of cases.

use tests::random::{self, Random};
use turntable::{config, error::Kind, sources::postgres};

use super::{context, options, rows, run, shared};
use crate::differential::{Row, Summary, seeds, through_files, through_parquet};

/// The default number of cases.
const CASES: u64 = 8;

/// Each column's type, and the SQL for its value. `#` stands for a random number from 0 to 2^60, and `g` for the row's
/// number.
const COLUMNS: [(&str, &str); 15] = [
    ("boolean", "# % 2 = 0"),
    ("smallint", "# % 65536 - 32768"),
    ("integer", "# % 4294967296 - 2147483648"),
    ("bigint", "# * 8 - 4611686018427387904"),
    ("numeric(30,6)", "(# - 576460752303423488)::numeric / 1000000"),
    ("numeric", "(#)::numeric * 1.000000000000000001"),
    ("real", "(# % 1000000 / 7.0)::real"),
    ("double precision", "(# % 1000000000000 / 7.0)::double precision - 1e10"),
    ("text", "repeat(chr(32 + (# % 95)::int) || '髙🎡\"'';', (# % 9)::int)"),
    (
        "varchar(20)",
        "CASE # % 4 WHEN 0 THEN '' WHEN 1 THEN E'a\\r\\nb' WHEN 2 THEN '\\N' ELSE md5((#)::text)::varchar(20) END",
    ),
    ("bytea", "decode(md5((#)::text), 'hex')"),
    ("uuid", "md5((#)::text)::uuid"),
    ("date", "date '1900-01-01' + (# % 80000)::int"),
    ("timestamptz", "timestamptz 'epoch' + (# % 4000000000000000) * interval '1 microsecond'"),
    ("text[]", "ARRAY[(#)::text, NULL, 'x,\"y']"),
];

/// The query and settings of one case.
struct Case {
    query: String,
    /// The columns that `split_by` may name.
    splits: Vec<String>,
}

/// Creates the table `differential.tN`, changes it, and returns its columns.
async fn create(url: &str, seed: u64, random: &mut Random) -> Vec<String> {
    let columns: Vec<(&str, &str)> = (0..3 + random.below(5)).filter_map(|_| random.pick(&COLUMNS)).collect();
    let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
    let table = format!("differential.t{seed}");
    let declared: Vec<String> = names.iter().zip(&columns).map(|(name, (of, _))| format!("{name} {of}")).collect();
    let salt = random.below(1 << 30);
    let value = |(at, (of, make)): (usize, &(&str, &str))| {
        let number = format!("abs(hashint8extended(g, {salt} + {at}) % 1152921504606846976)");
        format!("CASE WHEN ({number}) % 7 > 0 THEN ({})::{of} END", make.replace('#', &format!("({number})")))
    };
    let values: Vec<String> = columns.iter().enumerate().map(value).collect();
    let count = random.pick(&[0, 1, 300, 4000]).unwrap_or_default();
    let partitioned = random.below(4) == 0;
    let mut sql = format!("CREATE TABLE {table} (id bigint NOT NULL, kind int, {})", declared.join(", "));
    if partitioned {
        sql += " PARTITION BY HASH (id)";
    }
    sql += ";";
    for part in 0..if partitioned { 3 } else { 0 } {
        sql +=
            &format!("CREATE TABLE {table}_{part} PARTITION OF {table} FOR VALUES WITH (MODULUS 3, REMAINDER {part});");
    }
    sql += &format!(
        "INSERT INTO {table} SELECT g * 3 - 1000, g % 11, {} FROM generate_series(1, {count}) g;",
        values.join(", ")
    );
    for change in [
        format!("UPDATE {table} SET kind = NULL WHERE id % 5 = 0;"),
        format!("DELETE FROM {table} WHERE id BETWEEN 100 AND 900;"),
        format!("CREATE INDEX ON {table} (id);"),
        format!("ANALYZE {table};"),
    ] {
        if random.below(2) == 0 {
            sql += &change;
        }
    }
    sql += &format!("CREATE VIEW {table}_view AS SELECT * FROM {table} WHERE kind IS DISTINCT FROM 3;");
    run(url, &sql).await;
    names
}

fn case(seed: u64, names: &[String], random: &mut Random) -> Case {
    let table = format!("differential.t{seed}");
    let list = format!("id, kind, {}", names.join(", "));
    let all = vec!["id".to_owned(), "kind".into()];
    let (query, splits) = match random.below(7) {
        0 => (format!("SELECT * FROM {table}"), all),
        1 => (format!("SELECT {list} FROM {table} WHERE id % 2 = 0"), all),
        2 => (format!("SELECT {list} FROM {table}_view"), all),
        3 => (format!("SELECT id, kind FROM {table} UNION ALL SELECT id + 1, kind FROM {table}"), vec!["kind".into()]),
        4 => {
            (format!("SELECT kind AS id, count(*) AS n, min(id) AS low FROM {table} GROUP BY kind"), vec!["id".into()])
        }
        5 => (
            format!(
                "SELECT a.{}, b.kind AS other FROM {table} a LEFT JOIN {table} b ON b.id = a.id + 3",
                list.replace(", ", ", a.")
            ),
            all,
        ),
        _ => (format!("SELECT {list} FROM {table} ORDER BY id LIMIT 500"), all),
    };
    Case { query, splits }
}

/// Compares a case's exports with the client's rows. Returns how many exports were refused.
async fn compare(url: &str, seed: u64) -> usize {
    let mut random = Random::new(seed);
    let names = create(url, seed, &mut random).await;
    let mut refused = 0;
    for _ in 0..2 {
        let Case { query, splits } = case(seed, &names, &mut random);
        let client: Vec<Row> = run(url, &format!("SET timezone = 'UTC'; {query}")).await;
        let expected = Summary::of(&client);
        for parallel in [1, 4] {
            let split_by = random.pick(&splits.iter().map(String::as_str).collect::<Vec<_>>()).map(str::to_owned);
            let what = format!("TURNTABLE_SEED={seed}: {query}: parallel = {parallel}, split_by = {split_by:?}");
            let options = config::Postgres { parallel, split_by, ..options(url, &query) };
            let opened = match postgres::open(&options, &context()).await {
                Ok(opened) => opened,
                Err(error) if error.kind() == Kind::Input && parallel > 1 && query.contains("LIMIT") => {
                    refused += 1;
                    continue;
                }
                Err(error) => panic!("{what}: {}", error.report()),
            };
            let opened = if random.below(2) == 0 {
                through_parquet(opened, &context(), &mut random).await.unwrap_or_else(|error| panic!("{what}: {error}"))
            } else {
                opened
            };
            assert_eq!(Summary::of(&rows(opened).await.unwrap()), expected, "{what}");
        }
        let files = through_files(&client, &context(), &mut random).await;
        let files = files.unwrap_or_else(|error| panic!("TURNTABLE_SEED={seed}: {query}: {error}"));
        assert_eq!(Summary::of(&files), expected, "TURNTABLE_SEED={seed}: {query}: by files");
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_the_rows_of_the_client() {
    let url = shared().await;
    run(url, "CREATE SCHEMA differential").await;
    for seed in seeds(CASES) {
        random::named(seed, compare(url, seed)).await;
    }
}

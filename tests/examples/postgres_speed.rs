//! Measures how fast rows are read and decoded with 1, 2 and 4 connections, compared with `psql`, which discards them,
//! in four alternating rounds: `ROWS=1500000 cargo run -p tests --example postgres_speed` (needs `psql` on PATH)

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use futures::{StreamExt, future::join_all};
use tests::{memory, postgres::Postgres};
use turntable::{
    clock::Clock,
    config::{self, Connect, OnUnrepresentable},
    layout::TableName,
    sources::{Context, postgres},
};

#[tokio::main]
async fn main() {
    let rows: u64 = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(3_300_000);
    let server = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let url = server.url();
    run(
        &url,
        &format!(
            "CREATE TABLE users AS SELECT g::bigint AS id, md5(g::text)::uuid AS uuid, 'user' || g AS login, \
               (array['佐藤','鈴木','高橋','田中'])[1 + g % 4] || ' ' || g % 1000 AS name, 'u' || g || '@example.com' AS email, \
               (g % 100)::smallint AS age, g % 2 = 0 AS active, (g % 47)::int AS prefecture, \
               CASE WHEN g % 5 > 0 THEN date '1950-01-01' + g % 20000 END AS born, \
               timestamp '2020-01-01' + g * interval '1 second' AS created, \
               timestamptz '2021-01-01' + g * interval '1.5 second' AS updated, \
               (g % 1000000 / 100.0)::numeric(12,2) AS balance, (g * 1.25)::float8 AS score, (g % 97)::real AS ratio, \
               CASE WHEN g % 3 = 0 THEN 'note ' || g END AS note, (g % 7)::int AS segment, g * 31 % 1000003 AS token, \
               md5((g + 1)::text) AS hash, (g % 1000)::int AS visits, \
               CASE WHEN g % 10 = 0 THEN timestamptz '2022-01-01' + g * interval '1 minute' END AS left_at, \
               'tokyo'::text AS city, (g % 3)::smallint AS plan \
             FROM generate_series(1, {rows}) g"
        ),
    )
    .await;
    run(&url, "VACUUM ANALYZE users").await;
    for round in 0..4 {
        let psql = tokio::task::spawn_blocking({
            let url = url.clone();
            move || {
                let started = Instant::now();
                let ran = Command::new("psql")
                    .args([&url, "-qc", "COPY (SELECT * FROM users) TO STDOUT (FORMAT binary)"])
                    .stdout(Stdio::from(std::fs::File::create("/dev/null").unwrap()))
                    .status();
                ran.is_ok_and(|status| status.success()).then(|| started.elapsed().as_secs_f64())
            }
        });
        let psql = psql.await.unwrap().expect("psql");
        for parallel in [1, 2, 4] {
            let started = Instant::now();
            let cpu = cpu_seconds();
            let connect = Connect::Url(url.clone());
            let options = config::Postgres {
                connect,
                query: "SELECT * FROM users".into(),
                parallel,
                split_by: None,
                session: Default::default(),
            };
            let objects = Arc::new(memory::Objects::default());
            let context = Context {
                objects,
                secrets: None,
                iam: None,
                now: Clock::system().now(),
                table: TableName { database: "dmp".into(), table: "t".into() },
                on_unrepresentable: OnUnrepresentable::Error,
                copies: None,
            };
            let opened = postgres::open(&options, &context).await.unwrap();
            let counts =
                opened.rows.streams.into_iter().map(|stream| {
                    stream.fold(0, |count, batch| async move { count + batch.unwrap().num_rows() as u64 })
                });
            let count: u64 = join_all(counts).await.into_iter().sum();
            assert_eq!(count, rows);
            let seconds = started.elapsed().as_secs_f64();
            println!(
                "round {round}: psql {psql:.2} s; {parallel} connections {seconds:.2} s = {:.2} × psql, {:.2} M rows/s, {:.2} s CPU",
                seconds / psql,
                count as f64 / seconds / 1e6,
                cpu_seconds() - cpu
            );
        }
    }
}

/// Returns this process's CPU time in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

async fn run(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}

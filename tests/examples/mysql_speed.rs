//! Measures how fast rows are read and decoded, compared with MariaDB's own client, which discards them, in four
//! alternating rounds: `ROWS=1500000 cargo run -p tests --example mysql_speed`

use std::{process::Stdio, sync::Arc, time::Instant};

use futures::StreamExt;
use tests::{mariadb::Mariadb, memory};
use turntable::{
    clock::Clock,
    config::{self, Connect, OnUnrepresentable, Session, SharedSnapshot},
    layout::TableName,
    sources::{Context, mysql},
};

#[tokio::main]
async fn main() {
    let rows: u64 = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(3_300_000);
    let server = tokio::task::spawn_blocking(Mariadb::start).await.unwrap();
    let server = Arc::new(server);
    server.run(&format!(
        "CREATE TABLE users AS SELECT seq AS id, md5(seq) AS uuid, concat('user', seq) AS login,
           concat(elt(1 + seq % 4, '佐藤', '鈴木', '高橋', '田中'), ' ', seq % 1000) AS name,
           concat('u', seq, '@example.com') AS email, CAST(seq % 100 AS INT) AS age, seq % 2 = 0 AS active,
           CAST(seq % 47 AS INT) AS prefecture, if(seq % 5 > 0, date '1950-01-01' + INTERVAL seq % 20000 DAY, NULL) AS born,
           timestamp '2020-01-01 00:00:00' + INTERVAL seq SECOND AS created,
           timestamp '2021-01-01 00:00:00.000000' + INTERVAL seq * 1500000 MICROSECOND AS updated,
           CAST(seq % 1000000 / 100 AS DECIMAL(12,2)) AS balance, CAST(seq * 1.25 AS DOUBLE) AS score,
           CAST(seq % 97 AS FLOAT) AS ratio, if(seq % 3 = 0, concat('note ', seq), NULL) AS note,
           CAST(seq % 7 AS INT) AS segment, seq * 31 % 1000003 AS token, md5(seq + 1) AS hash,
           CAST(seq % 1000 AS INT) AS visits, if(seq % 10 = 0, timestamp '2022-01-01 00:00:00' + INTERVAL seq MINUTE, NULL) AS left_at,
           'tokyo' AS city, CAST(seq % 3 AS INT) AS plan
         FROM seq_1_to_{rows}; ANALYZE TABLE users"
    ));
    for round in 0..4 {
        let theirs = tokio::task::spawn_blocking({
            let server = server.clone();
            move || {
                let started = Instant::now();
                let null = Stdio::from(std::fs::File::create("/dev/null").unwrap());
                let ran = server.client().args(["--quick", "-e", "SELECT * FROM users"]).stdout(null).status();
                ran.is_ok_and(|status| status.success()).then(|| started.elapsed().as_secs_f64())
            }
        });
        let theirs = theirs.await.unwrap().expect("MariaDB's client");
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let options = config::Mysql {
            connect: Connect::Url(server.url()),
            query: "SELECT * FROM users".into(),
            parallel: 1,
            split_by: None,
            snapshot: SharedSnapshot::default(),
            sql_mode: None,
            allow_warnings: Vec::new(),
            session: Session::default(),
        };
        let context = Context {
            objects: Arc::new(memory::Objects::default()),
            secrets: None,
            iam: None,
            copies: None,
            now: Clock::system().now(),
            table: TableName { database: "dmp".into(), table: "users".into() },
            on_unrepresentable: OnUnrepresentable::Error,
        };
        let mut opened = mysql::open(&options, &context).await.unwrap();
        let mut count = 0;
        while let Some(batch) = opened.rows.streams[0].next().await {
            count += batch.unwrap().num_rows() as u64;
        }
        assert_eq!(count, rows);
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "round {round}: mariadb {theirs:.2} s; ours {seconds:.2} s = {:.2} × mariadb, {:.2} M rows/s, {:.2} s CPU",
            seconds / theirs,
            count as f64 / seconds / 1e6,
            cpu_seconds() - cpu
        );
    }
}

/// Returns this process's CPU time in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

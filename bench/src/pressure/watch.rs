//! Observes a server from before a contender's start until after its end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    mariadb, postgres,
    sample::{Counters, Pressure, Sample},
};

/// The pause between two looks at the server. A look takes less than a millisecond of its time.
const PAUSE: Duration = Duration::from_millis(25);
/// The time to wait until the server has ended the contender's connections.
const MAX_WAIT: Duration = Duration::from_secs(20);

enum Observer {
    Postgres(Box<postgres::Observer>),
    Mariadb(Box<mariadb::Observer>),
}

impl Observer {
    async fn sample(&mut self) -> Result<Sample> {
        match self {
            Observer::Postgres(observer) => observer.sample().await,
            Observer::Mariadb(observer) => observer.sample().await,
        }
    }

    async fn counters(&mut self) -> Result<Counters> {
        match self {
            Observer::Postgres(observer) => observer.counters().await,
            Observer::Mariadb(observer) => observer.counters().await,
        }
    }

    async fn is_alone(&mut self) -> Result<bool> {
        match self {
            Observer::Postgres(observer) => observer.is_alone().await,
            Observer::Mariadb(observer) => observer.is_alone().await,
        }
    }

    async fn disconnect(self) -> Result<()> {
        match self {
            Observer::Postgres(observer) => observer.disconnect().await,
            Observer::Mariadb(observer) => observer.disconnect().await,
        }
    }
}

/// A server that is being observed.
pub struct Watch {
    stop: oneshot::Sender<()>,
    observed: JoinHandle<Result<Pressure>>,
}

impl Watch {
    /// Observes the PostgreSQL server at the URL, and counts what is read from the table.
    pub async fn postgres(url: &str, table: &str) -> Result<Watch> {
        Watch::start(Observer::Postgres(Box::new(postgres::Observer::connect(url, table).await?))).await
    }

    /// Observes the MariaDB server at the URL.
    pub async fn mariadb(url: &str) -> Result<Watch> {
        Watch::start(Observer::Mariadb(Box::new(mariadb::Observer::connect(url).await?))).await
    }

    async fn start(mut observer: Observer) -> Result<Watch> {
        alone(&mut observer).await?;
        let before = observer.counters().await?;
        let (stop, mut stopped) = oneshot::channel();
        let observed = tokio::spawn(async move {
            let mut pressure = Pressure::default();
            loop {
                pressure.add(observer.sample().await?);
                if tokio::time::timeout(PAUSE, &mut stopped).await.is_ok() {
                    break;
                }
            }
            alone(&mut observer).await?;
            pressure.count(before, observer.counters().await?);
            observer.disconnect().await?;
            Ok(pressure)
        });
        Ok(Watch { stop, observed })
    }

    /// Call this when the contender has ended.
    pub async fn end(self) -> Result<Pressure> {
        // Sending fails if the task has ended with an error, which is returned below.
        let _ = self.stop.send(());
        self.observed.await?.context("cannot observe the server")
    }
}

/// Waits until nobody else is connected.
async fn alone(observer: &mut Observer) -> Result<()> {
    let started = Instant::now();
    while !observer.is_alone().await? {
        if started.elapsed() > MAX_WAIT {
            bail!("somebody is still connected to the server after {} s", MAX_WAIT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::{mariadb::Mariadb, postgres::Postgres, table};

    /// Reads the table in a transaction that stays open for 0.4 s, and then for 0.6 s in a statement of its own.
    #[tokio::test(flavor = "multi_thread")]
    async fn statements_transactions_snapshots_and_reads_are_seen() {
        let server = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
        table::make(&server.url(), "users", 3000).await.unwrap();
        let script = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(note) FROM users; SELECT pg_sleep(0.4); \
                      SELECT pg_sleep(0.4); COMMIT; SELECT pg_sleep(0.6)";
        let watch = Watch::postgres(&server.url(), "users").await.unwrap();
        let mut psql = Command::new("psql");
        psql.arg(server.url()).args(["-q", "-v", "ON_ERROR_STOP=1"]);
        for statement in script.split("; ") {
            psql.args(["-c", statement]);
        }
        ran(psql);
        let seen = watch.end().await.unwrap();
        // A busy machine takes fewer samples, and each can be late.
        assert!(seen.statement_s > 0.2, "{seen:?}");
        assert!(seen.transaction_s > 0.4 && seen.horizon_s > 0.4, "{seen:?}");
        assert_eq!(seen.rows, 3000, "{seen:?}");
        assert!((10..3000).contains(&seen.buffers), "{seen:?}");

        let mariadb = tokio::task::spawn_blocking(|| Mariadb::start_with(&["--local-infile=1"])).await.unwrap();
        let work = std::env::temp_dir().join(format!("turntable-pressure-{}", std::process::id()));
        std::fs::create_dir_all(&work).unwrap();
        table::copy_to_mariadb(&server.url(), &mariadb, "users", &work).await.unwrap();
        std::fs::remove_dir_all(work).unwrap();
        let watch = Watch::mariadb(&mariadb.url()).await.unwrap();
        let mut client = mariadb.client();
        client.args([
            "-e",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT; SELECT count(note) FROM users; \
                            SELECT sleep(0.4); SELECT sleep(0.4); COMMIT; SELECT sleep(0.6)",
        ]);
        ran(client);
        let seen = watch.end().await.unwrap();
        assert!(seen.statement_s > 0.2, "{seen:?}");
        // InnoDB's list of transactions is a tenth of a second old at most.
        assert!(seen.transaction_s > 0.3 && seen.horizon_s == seen.transaction_s, "{seen:?}");
        assert!((3000..6000).contains(&seen.rows), "{seen:?}");
        assert!(seen.buffers > 10, "{seen:?}");
    }

    fn ran(mut command: Command) {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{status}");
    }
}

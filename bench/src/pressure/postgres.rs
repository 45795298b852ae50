//! Observes PostgreSQL.

use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::sample::{Counters, Sample};

/// The other connections' oldest statement, transaction and snapshot. Assigns a transaction ID, so that a snapshot's age
/// shows in IDs.
const SAMPLE: &str = "SELECT pg_current_xact_id()::text::int8, \
    coalesce(extract(epoch FROM max(clock_timestamp() - query_start) FILTER (WHERE state = 'active')), 0)::float8, \
    coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8, min(backend_xmin::text::int8) \
    FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type IN ('client backend', 'parallel worker')";

/// The rows and pages that were read from the table and its index. Only the table's counters are free of what this
/// observer reads.
const COUNTERS: &str = "SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::int8, \
    (heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0) \
        + coalesce(toast_blks_read + toast_blks_hit, 0))::int8 \
    FROM pg_stat_user_tables AS t JOIN pg_statio_user_tables AS p USING (relid) WHERE t.relname = $1";

const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
    AND backend_type IN ('client backend', 'parallel worker')";

pub struct Observer {
    client: Client,
    connection: JoinHandle<Result<(), tokio_postgres::Error>>,
    table: String,
    /// The transaction ID of each sample, and when it was assigned.
    assigned: Vec<(i64, Instant)>,
}

impl Observer {
    pub async fn connect(url: &str, table: &str) -> Result<Observer> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = tokio::spawn(connection);
        client.batch_execute("SET synchronous_commit = off").await?;
        Ok(Observer { client, connection, table: table.to_owned(), assigned: Vec::new() })
    }

    pub async fn sample(&mut self) -> Result<Sample> {
        let row = self.client.query_one(SAMPLE, &[]).await?;
        let now = Instant::now();
        self.assigned.push((row.get(0), now));
        let held = row.get::<_, Option<i64>>(3).map_or(0.0, |oldest| {
            // A snapshot's oldest ID is the one that was assigned next.
            let at = self.assigned.partition_point(|(id, _)| *id < oldest);
            self.assigned.get(at).map_or(0.0, |(_, since)| (now - *since).as_secs_f64())
        });
        Ok(Sample { statement_s: row.get(1), transaction_s: row.get(2), horizon_s: held })
    }

    pub async fn counters(&self) -> Result<Counters> {
        let row = self.client.query_one(COUNTERS, &[&self.table]).await?;
        Ok(Counters { rows: row.get::<_, i64>(0) as u64, buffers: row.get::<_, i64>(1) as u64 })
    }

    /// Returns whether this is the only connection. A connection's counters are complete only when it has ended.
    pub async fn is_alone(&self) -> Result<bool> {
        Ok(self.client.query_one(OTHERS, &[]).await?.get::<_, i64>(0) == 0)
    }

    pub async fn disconnect(self) -> Result<()> {
        drop(self.client);
        Ok(self.connection.await??)
    }
}

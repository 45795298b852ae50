//! Observes MariaDB.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use anyhow::{Context, Result};
use mysql_async::{Conn, Opts, prelude::Queryable};

use super::sample::{Counters, Sample};

const STATEMENT: &str = "SELECT CAST(coalesce(max(time_ms), 0) AS double) FROM information_schema.processlist \
    WHERE id <> connection_id() AND command NOT IN ('Sleep', 'Daemon', 'Connect')";

const TRANSACTIONS: &str = "SELECT CAST(trx_mysql_thread_id AS unsigned), CAST(trx_started AS char) \
    FROM information_schema.innodb_trx WHERE trx_mysql_thread_id NOT IN (0, connection_id())";

/// The rows that all sessions but this one have read, and the pages that all have looked up: this session reads none.
const COUNTERS: &str = "SELECT CAST(greatest(g.rows_read - s.rows_read, 0) AS unsigned), CAST(b.pages AS unsigned) FROM \
    (SELECT sum(variable_value) AS rows_read FROM information_schema.global_status WHERE variable_name LIKE 'Handler\\_read%') AS g, \
    (SELECT sum(variable_value) AS rows_read FROM information_schema.session_status WHERE variable_name LIKE 'Handler\\_read%') AS s, \
    (SELECT variable_value AS pages FROM information_schema.global_status \
        WHERE variable_name = 'Innodb_buffer_pool_read_requests') AS b";

const OTHERS: &str = "SELECT count(*) FROM information_schema.processlist WHERE id <> connection_id() \
    AND user NOT IN ('system user', 'event_scheduler')";

pub struct Observer {
    connection: Conn,
    /// When each transaction that is open was first seen: the server knows it only to a second.
    open: BTreeMap<(u64, String), Instant>,
}

impl Observer {
    pub async fn connect(url: &str) -> Result<Observer> {
        Ok(Observer { connection: Conn::new(Opts::from_url(url)?).await?, open: BTreeMap::new() })
    }

    pub async fn sample(&mut self) -> Result<Sample> {
        let statement: f64 = self.connection.query_first(STATEMENT).await?.context("no answer")?;
        let open: Vec<(u64, String)> = self.connection.query(TRANSACTIONS).await?;
        let now = Instant::now();
        let open: BTreeSet<(u64, String)> = open.into_iter().collect();
        self.open.retain(|transaction, _| open.contains(transaction));
        for transaction in open {
            self.open.entry(transaction).or_insert(now);
        }
        let oldest = self.open.values().map(|since| (now - *since).as_secs_f64()).fold(0.0, f64::max);
        let statement_s = statement / 1000.0;
        Ok(Sample { statement_s, transaction_s: oldest, horizon_s: oldest.max(statement_s) })
    }

    pub async fn counters(&mut self) -> Result<Counters> {
        let (rows, buffers) = self.connection.query_first(COUNTERS).await?.context("no answer")?;
        Ok(Counters { rows, buffers })
    }

    /// Returns whether this is the only session. A session's counters are complete only when it has ended.
    pub async fn is_alone(&mut self) -> Result<bool> {
        let others: u64 = self.connection.query_first(OTHERS).await?.context("no answer")?;
        Ok(others == 0)
    }

    pub async fn disconnect(self) -> Result<()> {
        Ok(self.connection.disconnect().await?)
    }
}

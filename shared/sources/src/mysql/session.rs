//! One connection, in one read-only transaction.

use std::time::Duration;

use jiff::Timestamp;
use mysql_async::{Conn, DriverError, Error as Theirs, prelude::Queryable};

use super::{
    failure,
    server::{Server, SslMode},
};
use turntable_core::error::{Error, Result};

/// A `timestamp` is sent in the session's zone, which must have no summer time to be exact. And a server gives a reader
/// that pauses, as ours does while it uploads, no more than `net_write_timeout`: 60 seconds, unless it is told otherwise.
const SETTINGS: [&str; 3] = [
    "SET NAMES utf8mb4",
    "SET SESSION time_zone = '+00:00', net_write_timeout = 3600",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
];

/// What the transaction shows is of this moment, and nothing is written: a read replica will do.
const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A connection in its transaction. Dropped, it is closed at once, whatever it is at.
pub struct Session {
    conn: Option<Conn>,
    /// By the server's clock, just before the snapshot was taken: whatever was committed by then is seen.
    pub as_of: Timestamp,
}

impl Session {
    pub async fn begin(server: &Server) -> Result<Session> {
        let failed = |error| failure::of(server, error);
        let conn = connect(server).await?;
        let mut session = Session { conn: Some(conn), as_of: Timestamp::UNIX_EPOCH };
        let conn = session.conn()?;
        for setting in SETTINGS {
            conn.query_drop(setting).await.map_err(failed)?;
        }
        if let Some(limit) = server.statement_timeout() {
            limit_statements(conn, limit).await.map_err(failed)?;
        }
        let micros = conn.query_first("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)").await;
        let micros: Option<i64> = micros.map_err(failed)?;
        conn.query_drop(BEGIN).await.map_err(failed)?;
        session.as_of = micros
            .and_then(|micros| Timestamp::from_microsecond(micros).ok())
            .ok_or_else(|| Error::corrupt(format!("{}: its clock is beyond all dates", server.name())))?;
        Ok(session)
    }

    pub fn conn(&mut self) -> Result<&mut Conn> {
        self.conn.as_mut().ok_or_else(|| Error::corrupt("a connection is used after its end: a bug"))
    }

    pub async fn end(mut self) {
        if let Some(mut conn) = self.conn.take() {
            // All rows are here; whether the farewell succeeds changes nothing.
            let _ = conn.query_drop("COMMIT").await;
            let _ = conn.disconnect().await;
        }
    }
}

impl Drop for Session {
    /// Where the driver finds an executor, it reads the rest of the rows first, however many, to say farewell.
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            std::thread::spawn(move || drop(conn));
        }
    }
}

/// MySQL's limit is one of its SELECTs, in milliseconds; MariaDB's is one of any statement, in seconds.
async fn limit_statements(conn: &mut Conn, limit: Duration) -> Result<(), Theirs> {
    let version: Option<String> = conn.query_first("SELECT version()").await?;
    let setting = match version.is_some_and(|version| version.contains("MariaDB")) {
        true => format!("SET SESSION max_statement_time = {}", limit.as_secs_f64()),
        false => format!("SET SESSION max_execution_time = {}", limit.as_millis()),
    };
    conn.query_drop(setting).await
}

async fn connect(server: &Server) -> Result<Conn> {
    // The driver takes the process's own provider of cryptography; that another was there first is none of our business.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let patience = server.connect_timeout();
    let connecting = async {
        match Conn::new(server.options(server.mode != SslMode::Disabled)?).await {
            Err(Theirs::Driver(DriverError::NoClientSslFlagFromServer)) if server.mode == SslMode::Preferred => {
                Ok(Conn::new(server.options(false)?).await)
            }
            connected => Ok(connected),
        }
    };
    match tokio::time::timeout(patience, connecting).await {
        Ok(connected) => connected?.map_err(|error| failure::at_connect(server, error)),
        Err(_) => Err(failure::no_answer(server, patience)),
    }
}

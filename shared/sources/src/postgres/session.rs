//! A connection with one read-only transaction.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio_postgres::{CopyOutStream, SimpleQueryMessage};

use super::{
    failure,
    link::Link,
    server::Server,
    settings::{ENCODING, HARMFUL, UNCONVERTED, UTF8, WITHOUT_WORKERS},
    tls::{self, SslMode},
};
use turntable_core::error::{Error, Result};

/// Starts a read-only transaction on one snapshot. This also works on a read replica.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Selects the PID of the server process behind the connection. Behind a pooler, it may differ between transactions.
const BACKEND_PID: &str = "SELECT pg_catalog.pg_backend_pid()";

/// A connection with an open transaction. Dropping it closes the connection at once, even during a COPY.
pub struct Session {
    pub link: Link,
    /// The database's encoding, such as `UTF8`.
    pub encoding: String,
}

impl Session {
    /// Connects and starts the transaction, on a new snapshot or on the exported one named `snapshot`. The session that
    /// exported it must still be in its transaction. Logs a warning if a pooler switches the server process between
    /// transactions.
    pub async fn begin(server: &Server, snapshot: Option<&str>) -> Result<Session> {
        let link = connect(server).await?;
        let client = &link.client;
        let snapshot = snapshot.map(|name| format!("; SET TRANSACTION SNAPSHOT '{name}'")).unwrap_or_default();
        let begin = format!("{BEGIN}{snapshot}; {}; {ENCODING}; {HARMFUL}; {BACKEND_PID}", server.settings);
        // The driver sends both in this order, in one round trip.
        match tokio::join!(client.simple_query(BACKEND_PID), client.simple_query(&begin)) {
            (Ok(pid_before), Ok(pid_within)) => {
                let within = rows(&pid_within);
                if rows(&pid_before).last() != within.last() {
                    tracing::warn!(server = server.name(), "{}", failure::POOLER);
                }
                let [.., encoding, harmful, _pid] = &within[..] else { return Err(failure::no_settings(server)) };
                if !harmful.is_empty() {
                    return Err(failure::skips_damaged_rows(server, harmful));
                }
                let encoding = (*encoding).to_owned();
                Ok(Session { link, encoding })
            }
            // If the connection was closed, only one of the two errors states the reason.
            (Err(error), Err(other)) if error.as_db_error().is_none() => Err(failure::error_of(server, other)),
            (Ok(_), Err(error)) if !snapshot.is_empty() && failure::is_missing_snapshot(&error) => {
                Err(failure::missing_snapshot(server))
            }
            (Err(error), _) | (_, Err(error)) => Err(failure::error_of(server, error)),
        }
    }

    /// Returns when the transaction started, according to the server's clock. The snapshot contains everything that was
    /// committed by then.
    pub async fn as_of(&self, server: &Server) -> Result<Timestamp> {
        let row = self.link.client.query_one("SELECT pg_catalog.transaction_timestamp()", &[]).await;
        let time: SystemTime = row.and_then(|row| row.try_get(0)).map_err(|error| failure::error_of(server, error))?;
        Timestamp::try_from(time).map_err(|error| {
            Error::corrupt(format!(
                "PostgreSQL at {}: server clock out of range: correct the server's clock",
                server.name()
            ))
            .caused_by(error)
        })
    }

    /// Makes the server read tables in the same order in every session that calls this.
    pub async fn keep_order(&self, server: &Server) -> Result<()> {
        let set = self.link.client.batch_execute(WITHOUT_WORKERS).await;
        set.map_err(|error| failure::error_of(server, error))
    }

    /// Starts a COPY. In a database with an encoding other than UTF-8, the server sends text as it is stored.
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOutStream, tokio_postgres::Error> {
        let client = &self.link.client;
        if self.encoding == UTF8 {
            return client.copy_out(sql).await;
        }
        // The statement is sent before the change, because it is UTF-8.
        let statement = client.prepare(sql).await?;
        client.batch_execute(UNCONVERTED).await?;
        client.copy_out(&statement).await
    }

    /// Commits the transaction and closes the connection.
    pub async fn end(self) {
        // All rows have been read, so a failure here doesn't matter.
        let _ = self.link.client.batch_execute("COMMIT").await;
        self.link.end().await;
    }
}

/// Returns the first column of each row.
fn rows(messages: &[SimpleQueryMessage]) -> Vec<&str> {
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.filter_map(|row| row.get(0)).collect()
}

/// Connects as libpq does: `allow` first tries without TLS, `prefer` with it. If the attempt fails for a reason that
/// TLS may change, both try the other way.
pub async fn connect(server: &Server) -> Result<Link> {
    let (with_tls, may_try_other) = match server.mode {
        SslMode::Disable => (false, false),
        SslMode::Allow => (false, true),
        SslMode::Prefer => (true, true),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (true, false),
    };
    match attempt(server, with_tls).await {
        Err(Failure::Driver(error)) if may_try_other && failure::may_depend_on_tls(&error) => {
            attempt(server, !with_tls).await.map_err(|other| match other {
                // If the server rejected the first attempt, its reason explains both failures. A TLS error explains
                // only the first, so the second is reported.
                Failure::Driver(_) if error.as_db_error().is_some() => failure::at_connect(server, error),
                other => other.into_error(server),
            })
        }
        attempted => attempted.map_err(|failed| failed.into_error(server)),
    }
}

async fn attempt(server: &Server, with_tls: bool) -> Result<Link, Failure> {
    let limit = server.options.get_connect_timeout().copied().unwrap_or_default();
    // The driver's own timeout covers only opening the socket, but a server or pooler may accept the connection and
    // then stay silent.
    let timeout = limit * server.options.get_hosts().len().max(1) as u32;
    let tls =
        with_tls.then(|| tls::client(server.mode, server.trusted.as_deref())).transpose().map_err(Failure::Local)?;
    match tokio::time::timeout(timeout, Link::open(server.options.clone(), tls)).await {
        Ok(Ok(linked)) => linked.map_err(Failure::Driver),
        Ok(Err(error)) => {
            let text = format!(
                "can't start a thread for the connection to PostgreSQL at {}: run the export again",
                server.name()
            );
            Err(Failure::Local(Error::unavailable(text).caused_by(error)))
        }
        Err(_) => Err(Failure::Local(failure::no_answer(server, timeout))),
    }
}

enum Failure {
    /// An error on this machine or a timeout, already translated.
    Local(Error),
    /// An error from the driver or the server.
    Driver(tokio_postgres::Error),
}

impl Failure {
    fn into_error(self, server: &Server) -> Error {
        match self {
            Failure::Local(error) => error,
            Failure::Driver(error) => failure::at_connect(server, error),
        }
    }
}

//! A connection and its read-only transaction.

use jiff::Timestamp;
use mysql_async::{Conn, DriverError, Error as MysqlError, ServerError, prelude::Queryable};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{
    failure,
    server::{Server, SslMode},
    settings,
};
use turntable_core::error::{Error, Result};

/// Sets the time zone to UTC, because a `timestamp` is sent in the session's zone and is ambiguous in a zone with
/// daylight saving time. Raises `net_write_timeout` to an hour, because the reader pauses during uploads, and by
/// default the server drops a reader that pauses for 60 seconds. Without `character_set_results`, the server sends text
/// in its column's own character set, and says which one that is. The limits on results come first, because they also
/// apply to `SHOW VARIABLES`.
const SETTINGS: [&str; 5] = [
    "SET NAMES utf8mb4",
    "SET SESSION character_set_results = NULL",
    "SET SESSION sql_select_limit = 18446744073709551615, sql_big_selects = ON",
    "SET SESSION time_zone = '+00:00', net_write_timeout = 3600",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
];

/// Starts a read-only transaction and takes its snapshot. This also works on a read replica.
const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A connection with at most one transaction. Dropping it closes the connection at once, even during a query.
pub struct Session {
    conn: Option<Conn>,
    /// The server's time just before it took the snapshot, which contains everything that was committed by then. The
    /// Unix epoch if there is no snapshot yet.
    pub as_of: Timestamp,
}

impl Session {
    /// Connects, applies the settings and takes a snapshot.
    pub async fn begin(server: &Server) -> Result<Session> {
        let mut session = Session::connect(server).await?;
        session.take_snapshot(server).await?;
        Ok(session)
    }

    /// Connects and applies the settings.
    pub async fn connect(server: &Server) -> Result<Session> {
        let failed = |error| failure::error_of(server, error);
        let conn = connect(server).await?;
        let mut session = Session { conn: Some(conn), as_of: Timestamp::UNIX_EPOCH };
        let conn = session.conn()?;
        for setting in SETTINGS {
            conn.query_drop(setting).await.map_err(failed)?;
        }
        settings::apply(conn, &server.settings()).await.map_err(failed)?;
        Ok(session)
    }

    /// Starts the transaction with its snapshot. If there is one already, it ends.
    pub async fn take_snapshot(&mut self, server: &Server) -> Result<()> {
        let failed = |error| failure::error_of(server, error);
        let conn = self.conn()?;
        let micros = conn.query_first("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)").await;
        let micros: Option<Option<i64>> = micros.map_err(failed)?;
        conn.query_drop(BEGIN).await.map_err(failed)?;
        self.as_of = micros.flatten().and_then(|micros| Timestamp::from_microsecond(micros).ok()).ok_or_else(|| {
            Error::corrupt(format!("MySQL at {}: server clock out of range: correct the server's clock", server.name()))
        })?;
        Ok(())
    }

    /// Returns the connection. Fails if it has been closed.
    pub fn conn(&mut self) -> Result<&mut Conn> {
        self.conn.as_mut().ok_or_else(|| {
            Error::corrupt("a connection to MySQL was used after it was closed: this is a bug, please report it")
        })
    }

    /// Commits the transaction and closes the connection.
    pub async fn end(mut self) {
        if let Some(mut conn) = self.conn.take() {
            // All rows have been read, so a failure here doesn't matter.
            let _ = conn.query_drop("COMMIT").await;
            let _ = conn.disconnect().await;
        }
    }
}

impl Drop for Session {
    /// Drops the connection on a thread without a Tokio runtime, which closes the socket at once. Within a runtime, the
    /// driver would first read all remaining rows to disconnect cleanly.
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            std::thread::spawn(move || drop(conn));
        }
    }
}

/// Connects, and fails if that takes longer than `connect_timeout`. `PREFERRED` falls back to a connection without TLS
/// if the server doesn't offer it.
async fn connect(server: &Server) -> Result<Conn> {
    // The driver uses the process-wide cryptography provider. An error here means that one is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let timeout = server.connect_timeout();
    let connecting = async {
        let mut connected = log_in(server).await;
        for _ in 0..REPEATED_LOGINS {
            if !is_denied(&connected) || !greets_as_mariadb(server).await {
                break;
            }
            connected = log_in(server).await;
        }
        connected
    };
    match tokio::time::timeout(timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| failure::at_connect(server, error)),
        Err(_) => Err(failure::no_answer(server, timeout)),
    }
}

/// How many times to log in again after the server has rejected the password. The driver mistakes a zero at the end of
/// an ed25519 nonce for padding and drops it (`AuthSwitchRequest::plugin_data` in mysql_common 0.37.3), so one of 256
/// logins with the right password fails.
const REPEATED_LOGINS: usize = 2;

async fn log_in(server: &Server) -> std::result::Result<Conn, MysqlError> {
    match Conn::new(server.options(server.mode != SslMode::Disabled)).await {
        Err(MysqlError::Driver(DriverError::NoClientSslFlagFromServer)) if server.mode == SslMode::Preferred => {
            Conn::new(server.options(false)).await
        }
        connected => connected,
    }
}

fn is_denied(connected: &std::result::Result<Conn, MysqlError>) -> bool {
    matches!(connected, Err(MysqlError::Server(ServerError { code: failure::ACCESS_DENIED, .. })))
}

/// Returns whether the server's greeting names MariaDB. Only MariaDB has ed25519. MySQL may lock an account after a few
/// wrong passwords (`FAILED_LOGIN_ATTEMPTS`), so a login to it is not repeated.
async fn greets_as_mariadb(server: &Server) -> bool {
    let mut greeting = [0; 128];
    let Ok(mut stream) = TcpStream::connect(server.endpoint()).await else { return false };
    let length = stream.read(&mut greeting).await.unwrap_or(0);
    memchr::memmem::find(greeting.get(..length).unwrap_or_default(), b"MariaDB").is_some()
}

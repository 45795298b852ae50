//! One connection, in one read-only transaction.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio_postgres::SimpleQueryMessage;

use super::{
    failure,
    link::Link,
    server::Server,
    tls::{self, SslMode},
};
use turntable_core::error::{Error, Result};

/// What a transaction shows is of one moment, and nothing is written: a read replica will do.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The styles of output are pinned because texts are made of them; the time zone is left as the role has it, because
/// the query may mean it. The time-outs of the role and of the database are lifted: they are meant for small questions,
/// and a copy takes as long as it takes.
const SETTINGS: &str = "SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; \
    SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL idle_in_transaction_session_timeout = 0; \
    SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'";

/// Which process of the server answers. Between transactions a pooler may change it.
const PROCESS: &str = "SELECT pg_catalog.pg_backend_pid()";

/// A connection in its transaction. Dropped, it is closed at once, whatever it is at.
pub struct Session {
    pub link: Link,
}

impl Session {
    /// As of now, or of the moment of another session, whose transaction is still open and which has exported its
    /// snapshot.
    pub async fn begin(server: &Server, snapshot: Option<&str>) -> Result<Session> {
        let session = Session { link: connect(server).await? };
        let client = &session.link.client;
        let snapshot = snapshot.map(|name| format!("; SET TRANSACTION SNAPSHOT '{name}'")).unwrap_or_default();
        let limit = format!("SET LOCAL statement_timeout = {}", server.statement_timeout);
        let begin = format!("{BEGIN}{snapshot}; {SETTINGS}; {limit}; {PROCESS}");
        // One after the other, in one round trip.
        match tokio::join!(client.simple_query(PROCESS), client.simple_query(&begin)) {
            (Ok(before), Ok(within)) => {
                if last(&before) != last(&within) {
                    tracing::warn!(server = server.name(), "{}", failure::POOLER);
                }
                Ok(session)
            }
            // Whoever closes the connection has said why only once.
            (Err(error), Err(other)) if error.as_db_error().is_none() => Err(failure::of(server, other)),
            (Ok(_), Err(error)) if !snapshot.is_empty() && failure::no_snapshot(&error) => {
                Err(failure::other_snapshot(server))
            }
            (Err(error), _) | (_, Err(error)) => Err(failure::of(server, error)),
        }
    }

    /// The start of the transaction by the server's clock. Whatever was committed by then is seen.
    pub async fn as_of(&self, server: &Server) -> Result<Timestamp> {
        let row = self.link.client.query_one("SELECT transaction_timestamp()", &[]).await;
        let time: SystemTime = row.and_then(|row| row.try_get(0)).map_err(|error| failure::of(server, error))?;
        Timestamp::try_from(time).map_err(|error| {
            Error::corrupt(format!("{}: its clock is beyond all dates", server.name())).caused_by(error)
        })
    }

    pub async fn end(self) {
        // All rows are here; whether the farewell succeeds changes nothing.
        let _ = self.link.client.batch_execute("COMMIT").await;
        self.link.end().await;
    }
}

fn last(messages: &[SimpleQueryMessage]) -> Option<&str> {
    messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

/// As libpq goes about it: `allow` begins without TLS and `prefer` with it, and where the server does not let them in
/// that way, they try the other.
async fn connect(server: &Server) -> Result<Link> {
    let (with_tls, may_try_other) = match server.mode {
        SslMode::Disable => (false, false),
        SslMode::Allow => (false, true),
        SslMode::Prefer => (true, true),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (true, false),
    };
    match attempt(server, with_tls).await {
        Err(Failed::Theirs(error)) if may_try_other && failure::other_way(&error) => {
            attempt(server, !with_tls).await.map_err(|other| match other {
                // What the first one said of the user holds for both; what it said of TLS does not.
                Failed::Theirs(_) if error.as_db_error().is_some() => failure::at_connect(server, error),
                other => other.told(server),
            })
        }
        attempted => attempted.map_err(|failed| failed.told(server)),
    }
}

async fn attempt(server: &Server, with_tls: bool) -> Result<Link, Failed> {
    let limit = server.options.get_connect_timeout().copied().unwrap_or_default();
    // The driver's own limit is for the socket; a server, or a pooler, may also accept and then say nothing.
    let patience = limit * server.options.get_hosts().len().max(1) as u32;
    let tls = with_tls.then(|| tls::client(server.mode, server.roots.as_deref())).transpose().map_err(Failed::Ours)?;
    match tokio::time::timeout(patience, Link::open(server.options.clone(), tls)).await {
        Ok(Ok(linked)) => linked.map_err(Failed::Theirs),
        Ok(Err(error)) => Err(Failed::Ours(Error::unavailable("no thread for a connection").caused_by(error))),
        Err(_) => Err(Failed::Ours(failure::no_answer(server, patience))),
    }
}

enum Failed {
    Ours(Error),
    Theirs(tokio_postgres::Error),
}

impl Failed {
    fn told(self, server: &Server) -> Error {
        match self {
            Failed::Ours(error) => error,
            Failed::Theirs(error) => failure::at_connect(server, error),
        }
    }
}

//! One connection, in one read-only transaction.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Connection, NoTls, Socket, tls::TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    failure,
    server::Server,
    tls::{self, SslMode},
};
use crate::error::{Error, Result};

/// What a transaction shows is of one moment, and nothing is written: a read replica will do.
/// The styles of output are pinned because texts are made of them; the time zone is left as the role has it, because
/// the query may mean it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
    SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; \
    SET LOCAL bytea_output = 'hex'";

/// A connection in its transaction. Dropped, it is closed at once, whatever it is at.
pub struct Session {
    pub client: Client,
    socket: AbortOnDrop,
}

/// A task that must not outlive what it works for.
pub struct AbortOnDrop(pub JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    pub async fn begin(server: &Server) -> Result<Session> {
        let session = connect(server).await?;
        session.run(server, BEGIN).await?;
        Ok(session)
    }

    /// As of the moment of another session, whose transaction is still open.
    pub async fn join(server: &Server, snapshot: &str) -> Result<Session> {
        let session = Session::begin(server).await?;
        session.run(server, &format!("SET TRANSACTION SNAPSHOT '{snapshot}'")).await?;
        Ok(session)
    }

    /// The start of the transaction by the server's clock. Whatever was committed by then is seen.
    pub async fn as_of(&self, server: &Server) -> Result<Timestamp> {
        let row = self.client.query_one("SELECT transaction_timestamp()", &[]).await;
        let time: SystemTime = row.and_then(|row| row.try_get(0)).map_err(|error| failure::of(server, error))?;
        Timestamp::try_from(time).map_err(|error| {
            Error::corrupt(format!("{}: its clock is beyond all dates", server.name())).caused_by(error)
        })
    }

    pub async fn end(self) {
        // All rows are here; whether the farewell succeeds changes nothing.
        let _ = self.client.batch_execute("COMMIT").await;
        drop(self.client);
        let mut socket = self.socket;
        let _ = (&mut socket.0).await;
    }

    async fn run(&self, server: &Server, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| failure::of(server, error))
    }
}

async fn connect(server: &Server) -> Result<Session> {
    let limit = server.options.get_connect_timeout().copied().unwrap_or_default();
    // The driver's own limit is for the socket; a server, or a pooler, may also accept and then say nothing.
    let patience = limit * server.options.get_hosts().len().max(1) as u32;
    let connecting = async {
        match server.mode {
            SslMode::Disable => {
                let (client, connection) = server.options.connect(NoTls).await.map_err(Failed::Theirs)?;
                Ok((client, drive(connection)))
            }
            mode => {
                let tls = MakeRustlsConnect::new(tls::client(mode, server.roots.as_deref()).map_err(Failed::Ours)?);
                let (client, connection) = server.options.connect(tls).await.map_err(Failed::Theirs)?;
                Ok((client, drive(connection)))
            }
        }
    };
    match tokio::time::timeout(patience, connecting).await {
        Ok(Ok((client, socket))) => Ok(Session { client, socket: AbortOnDrop(socket) }),
        Ok(Err(Failed::Ours(error))) => Err(error),
        Ok(Err(Failed::Theirs(error))) => Err(failure::at_connect(server, error)),
        Err(_) => Err(failure::no_answer(server, patience)),
    }
}

enum Failed {
    Ours(Error),
    Theirs(tokio_postgres::Error),
}

/// Moves bytes between the socket and the client. An error reaches the client as the end of its answers.
fn drive<T>(connection: Connection<Socket, T>) -> JoinHandle<()>
where
    T: TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to PostgreSQL ended");
        }
    })
}

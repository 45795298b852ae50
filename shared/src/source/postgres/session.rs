//! One connection, in one read-only transaction.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{self, Poll},
    time::SystemTime,
};

use bytes::Bytes;
use futures::{FutureExt, Stream, future::BoxFuture};
use jiff::Timestamp;
use tokio_postgres::{Client, CopyOutStream, NoTls, types::FromSqlOwned};
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
    pub socket: Connection,
}

/// Moves bytes between the socket and the client, whenever what waits for them is polled. In the same task: rows come
/// in pieces of a few kilobytes, and handing each one to another thread costs more than decoding it.
pub struct Connection(Option<BoxFuture<'static, Result<(), tokio_postgres::Error>>>);

impl Connection {
    /// Finishes work on the client.
    pub async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| self.poll(context, |context| work.as_mut().poll(context))).await
    }

    /// The next of what a copy sends.
    pub async fn next(&mut self, rows: &mut Pin<&mut CopyOutStream>) -> Option<Result<Bytes, tokio_postgres::Error>> {
        poll_fn(|context| self.poll(context, |context| rows.as_mut().poll_next(context))).await
    }

    /// The socket is only asked when the client has nothing left.
    fn poll<T>(
        &mut self,
        context: &mut task::Context<'_>,
        mut work: impl FnMut(&mut task::Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Poll::Ready(done) = work(context) {
            return Poll::Ready(done);
        }
        if let Some(socket) = &mut self.0
            && let Poll::Ready(end) = socket.as_mut().poll(context)
        {
            // The client is told, as the end of its answers.
            if let Err(error) = end {
                tracing::debug!(%error, "the connection to PostgreSQL ended");
            }
            self.0 = None;
        }
        work(context)
    }
}

impl Session {
    pub async fn begin(server: &Server) -> Result<Session> {
        let mut session = connect(server).await?;
        session.run(server, BEGIN).await?;
        Ok(session)
    }

    /// As of the moment of another session, whose transaction is still open.
    pub async fn join(server: &Server, snapshot: &str) -> Result<Session> {
        let mut session = Session::begin(server).await?;
        session.run(server, &format!("SET TRANSACTION SNAPSHOT '{snapshot}'")).await?;
        Ok(session)
    }

    /// The start of the transaction by the server's clock. Whatever was committed by then is seen.
    pub async fn as_of(&mut self, server: &Server) -> Result<Timestamp> {
        let time: SystemTime = self.value(server, "SELECT transaction_timestamp()").await?;
        Timestamp::try_from(time).map_err(|error| {
            Error::corrupt(format!("PostgreSQL at {}: its clock is beyond all dates", server.name())).caused_by(error)
        })
    }

    /// The one value that a query gives.
    pub async fn value<T: FromSqlOwned>(&mut self, server: &Server, query: &str) -> Result<T> {
        let row = self.socket.drive(self.client.query_one(query, &[])).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| failure::of(server, error))
    }

    pub async fn end(self) {
        let Session { client, mut socket } = self;
        // All rows are here; whether the farewell succeeds changes nothing.
        let _ = socket.drive(client.batch_execute("COMMIT")).await;
        drop(client);
        if let Some(socket) = socket.0 {
            let _ = socket.await;
        }
    }

    async fn run(&mut self, server: &Server, sql: &str) -> Result<()> {
        self.socket.drive(self.client.batch_execute(sql)).await.map_err(|error| failure::of(server, error))
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
                Ok((client, connection.boxed()))
            }
            mode => {
                let tls = MakeRustlsConnect::new(tls::client(mode, server.roots.as_deref()).map_err(Failed::Ours)?);
                let (client, connection) = server.options.connect(tls).await.map_err(Failed::Theirs)?;
                Ok((client, connection.boxed()))
            }
        }
    };
    match tokio::time::timeout(patience, connecting).await {
        Ok(Ok((client, socket))) => Ok(Session { client, socket: Connection(Some(socket)) }),
        Ok(Err(Failed::Ours(error))) => Err(error),
        Ok(Err(Failed::Theirs(error))) => Err(failure::at_connect(server, error)),
        Err(_) => Err(failure::no_answer(server, patience)),
    }
}

enum Failed {
    Ours(Error),
    Theirs(tokio_postgres::Error),
}

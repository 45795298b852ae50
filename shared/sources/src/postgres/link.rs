//! Runs each connection on its own thread, which moves bytes between the socket and the client.
//!
//! The thread has its own runtime, so it can sleep while rows accumulate (see `tap`) without blocking other tasks, and
//! its wake-ups don't interrupt other threads.

use std::{convert::Infallible, io, thread};

use futures::channel::mpsc::{Receiver, channel};
use rustls::ClientConfig;
use tokio::{runtime::Builder, select, sync::oneshot};
use tokio_postgres::{
    Client, Config, Error, NoTls, Socket,
    config::{Host, SslMode, SslNegotiation},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tap;

/// The maximum number of chunks, about 50 KB of rows each, that are buffered for the reader.
const MAX_BUFFERED_CHUNKS: usize = 16;

/// A connection. Dropping it closes the socket at once, even during a COPY.
pub struct Link {
    pub client: Client,
    /// The COPY's rows in wire format. The channel ends when the COPY completes or fails. Over a Unix socket, which the
    /// driver doesn't allow tapping, the channel is empty and the client gets the rows.
    pub rows: Receiver<Vec<u8>>,
    /// Resolves once the thread has closed the socket.
    ended: oneshot::Receiver<Infallible>,
    /// Tells the thread, when dropped, to close the socket.
    _close: oneshot::Sender<()>,
}

impl Link {
    /// Connects, with TLS if `tls` is given. The outer error means that the connection's thread failed to run, the
    /// inner one that connecting failed.
    pub async fn open(mut options: Config, tls: Option<ClientConfig>) -> io::Result<Result<Link, Error>> {
        let (sender, rows) = channel(MAX_BUFFERED_CHUNKS);
        let is_local = options.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
        match tls {
            Some(tls) => {
                options.ssl_mode(SslMode::Require);
                run(options, tap::Tls { tls: MakeRustlsConnect::new(tls), rows: sender }, rows).await
            }
            None if is_local => {
                options.ssl_mode(SslMode::Disable);
                run(options, NoTls, rows).await
            }
            None => {
                options.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
                run(options, tap::Plain { rows: sender }, rows).await
            }
        }
    }

    /// Closes the connection and waits until the socket is closed.
    pub async fn end(self) {
        drop((self.client, self.rows));
        let _ = self.ended.await;
    }
}

async fn run<T>(options: Config, tls: T, rows: Receiver<Vec<u8>>) -> io::Result<Result<Link, Error>>
where
    T: MakeTlsConnect<Socket> + Send + 'static,
{
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut answer, answered) = oneshot::channel();
    let (close, closed) = oneshot::channel::<()>();
    let (end, ended) = oneshot::channel();
    // The future is created on the thread that runs it, so it need not be Send.
    let work = async move || {
        let connected = select! {
            connected = options.connect(tls) => connected,
            () = answer.closed() => return,
        };
        let (client, connection) = match connected {
            Ok(connected) => connected,
            Err(error) => return drop(answer.send(Err(error))),
        };
        if answer.send(Ok(client)).is_ok() {
            select! {
                // The client's own calls fail after such an error, so it is only logged here.
                done = connection => if let Err(error) = done {
                    tracing::debug!(%error, "the connection to PostgreSQL ended");
                },
                _ = closed => {}
            }
        }
    };
    thread::Builder::new().name("postgres".into()).spawn(move || {
        runtime.block_on(work());
        drop(end);
    })?;
    let client = answered.await.map_err(io::Error::other)?;
    Ok(client.map(|client| Link { client, rows, ended, _close: close }))
}

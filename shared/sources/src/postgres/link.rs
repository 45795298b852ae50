//! The thread that moves bytes between a socket and its client.
//!
//! It has a runtime of its own, so that it may sleep while rows gather (`tap`), and nothing else wakes for every packet.

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

/// Chunks of rows that are read and not yet taken: some 50 KB each.
const AHEAD: usize = 16;

/// A connection. Dropped, it is closed at once, whatever it is at.
pub struct Link {
    pub client: Client,
    /// The rows of its COPY, as they come over the wire. They end with the COPY, however that ends, and there are none
    /// where the client gets them: over a socket of Unix, which the driver lets nobody tap.
    pub rows: Receiver<Vec<u8>>,
    ended: oneshot::Receiver<Infallible>,
    _close: oneshot::Sender<()>,
}

impl Link {
    /// With TLS, or without. The outer error is this machine's, the inner one the server's.
    pub async fn open(mut options: Config, tls: Option<ClientConfig>) -> io::Result<Result<Link, Error>> {
        let (sender, rows) = channel(AHEAD);
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

    /// Says goodbye, and waits until the socket is closed.
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
    // Its future need not be Send: it is made where it runs.
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
                // An error reaches the client as the end of its answers.
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

//! Diverts a COPY's rows before the driver sees them.
//!
//! The driver reads into 8 KB buffers and passes each row separately from one task to another, which takes longer than
//! decoding the rows. On a tapped connection, the driver gets all messages except the rows. It still handles sign-in,
//! TLS, responses, errors and the end of the COPY.

use std::{
    convert::Infallible,
    future::{self, Ready},
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use futures::{channel::mpsc::Sender, future::BoxFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};

use crate::postgres::copy::Messages;

/// The maximum number of bytes to read from the server at once.
const READ_BYTES: usize = 64 << 10;

/// The number of accumulated bytes at which rows are passed on to their receiver.
const CHUNK_BYTES: usize = 32 << 10;

/// The pause before the next read during a COPY, in which rows accumulate: 100 KB at 200 MB/s. Without it, the reader
/// is woken for every packet, which on loopback costs the server a seventh of its time.
const GATHER_DELAY: Duration = Duration::from_micros(500);

/// A stream of the server's messages without the COPY's rows, which go to a channel. Reading it blocks the thread while
/// rows accumulate, so `link` gives each connection its own thread.
pub struct Tap<S> {
    stream: S,
    /// Returns the channel binding of `stream` for authentication.
    binding: fn(&S) -> ChannelBinding,
    /// The read buffer.
    read: Box<[u8]>,
    messages: Messages,
    /// The channel to the rows' receiver. `None` once the COPY has ended or the receiver is gone.
    rows: Option<Sender<Vec<u8>>>,
    /// Rows that have not been passed on yet.
    chunk: Vec<u8>,
    /// Messages that the driver has not read yet.
    others: Vec<u8>,
}

impl<S> Tap<S> {
    fn new(stream: S, binding: fn(&S) -> ChannelBinding, rows: Sender<Vec<u8>>) -> Tap<S> {
        let read = vec![0; READ_BYTES].into();
        let (messages, chunk, others) = (Messages::default(), Vec::new(), Vec::new());
        Tap { stream, binding, read, messages, rows: Some(rows), chunk, others }
    }

    /// Passes the accumulated rows to their receiver once the channel has room, or discards them if the receiver is
    /// gone.
    fn poll_hand_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rows) = &mut self.rows
            && !self.chunk.is_empty()
        {
            let is_taken = ready!(rows.poll_ready(cx)).is_ok();
            let chunk = mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES + READ_BYTES));
            if !is_taken || rows.start_send(chunk).is_err() {
                self.rows = None;
            }
        }
        self.chunk.clear();
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let has_ended = this.messages.has_ended();
            if has_ended || this.chunk.len() >= CHUNK_BYTES {
                ready!(this.poll_hand_on(cx));
            }
            if has_ended {
                this.rows = None;
            }
            if !this.others.is_empty() {
                let length = this.others.len().min(buffer.remaining());
                buffer.put_slice(&this.others[..length]);
                this.others.drain(..length);
                return Poll::Ready(Ok(()));
            }
            let mut read = ReadBuf::new(&mut this.read);
            match Pin::new(&mut this.stream).poll_read(cx, &mut read) {
                Poll::Ready(done) => done?,
                Poll::Pending => {
                    if this.messages.is_copying() {
                        thread::sleep(GATHER_DELAY);
                    }
                    return Poll::Pending;
                }
            }
            if read.filled().is_empty() {
                ready!(this.poll_hand_on(cx));
                return Poll::Ready(Ok(()));
            }
            this.messages.split(read.filled(), &mut this.chunk, &mut this.others);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Tap<S> {
    fn channel_binding(&self) -> ChannelBinding {
        (self.binding)(&self.stream)
    }
}

/// Connects over TLS and taps the decrypted stream.
pub struct Tls<T> {
    pub tls: T,
    pub rows: Sender<Vec<u8>>,
}

impl<T: MakeTlsConnect<Socket>> MakeTlsConnect<Socket> for Tls<T>
where
    T::TlsConnect: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    type Stream = Tap<T::Stream>;
    type TlsConnect = Tls<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, T::Error> {
        Ok(Tls { tls: self.tls.make_tls_connect(host)?, rows: self.rows.clone() })
    }
}

impl<T> TlsConnect<Socket> for Tls<T>
where
    T: TlsConnect<Socket> + Send + 'static,
    T::Future: Send,
{
    type Stream = Tap<T::Stream>;
    type Error = T::Error;
    type Future = BoxFuture<'static, Result<Tap<T::Stream>, T::Error>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { Ok(Tap::new(self.tls.connect(socket).await?, T::Stream::channel_binding, self.rows)) })
    }
}

/// Taps an unencrypted connection by posing as a TLS layer that isn't negotiated with the server
/// (`SslNegotiation::Direct`) and encrypts nothing. This leaves it to the driver to try the hosts, connect and set the
/// keepalive.
#[derive(Clone)]
pub struct Plain {
    pub rows: Sender<Vec<u8>>,
}

impl MakeTlsConnect<Socket> for Plain {
    type Stream = Tap<Socket>;
    type TlsConnect = Plain;
    type Error = Infallible;

    fn make_tls_connect(&mut self, _host: &str) -> Result<Plain, Infallible> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for Plain {
    type Stream = Tap<Socket>;
    type Error = Infallible;
    type Future = Ready<Result<Tap<Socket>, Infallible>>;

    fn connect(self, socket: Socket) -> Self::Future {
        future::ready(Ok(Tap::new(socket, |_| ChannelBinding::none(), self.rows)))
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, channel::mpsc};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn message(of: u8, body: &[u8]) -> Vec<u8> {
        [&[of][..], &(body.len() as i32 + 4).to_be_bytes(), body].concat()
    }

    /// Returns the server's end of a connection, the driver's tapped end, and the receiver of the rows. `room` is the
    /// channel's buffer size.
    fn tapped(room: usize) -> (DuplexStream, Tap<DuplexStream>, mpsc::Receiver<Vec<u8>>) {
        let (server, stream) = duplex(1 << 20);
        let (sender, rows) = mpsc::channel(room);
        (server, Tap::new(stream, |_| ChannelBinding::none(), sender), rows)
    }

    #[tokio::test]
    async fn driver_gets_every_message_but_the_rows() {
        let (mut server, mut driver, rows) = tapped(0);
        let (begin, end) = (message(b'H', b"\0\0\0"), [message(b'c', b""), message(b'Z', b"T")].concat());
        let copy = [&begin[..], &message(b'd', b"one "), &message(b'd', b"two"), &end].concat();
        server.write_all(&copy).await.unwrap();
        let mut seen = vec![0; begin.len() + end.len()];
        let (read, rows) = tokio::join!(driver.read_exact(&mut seen), rows.concat());
        read.unwrap();
        assert_eq!(seen, [begin, end].concat());
        assert_eq!(rows, b"one two");
        server.write_all(&message(b'd', b"of no copy")).await.unwrap();
        drop(server);
        let mut rest = Vec::new();
        driver.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, message(b'd', b"of no copy"));
    }

    #[tokio::test]
    async fn rows_wait_for_a_slow_receiver_and_are_discarded_without_one() {
        let (mut server, mut driver, mut rows) = tapped(0);
        let row = message(b'd', &[7; CHUNK_BYTES]);
        let end = message(b'c', b"");
        server.write_all(&[&message(b'H', b"")[..], &row, &row, &row, &end].concat()).await.unwrap();
        let mut seen = [0; 5];
        driver.read_exact(&mut seen).await.unwrap();
        // The driver gets no message until the receiver has taken the rows before it.
        assert!(driver.read_exact(&mut seen).now_or_never().is_none());
        assert_eq!(rows.next().await.unwrap()[0], 7);
        drop(rows);
        driver.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, *end);
    }

    #[tokio::test]
    async fn rows_end_with_the_connection() {
        let (mut server, mut driver, mut rows) = tapped(1);
        server
            .write_all(&[message(b'H', b""), message(b'd', b"row"), message(b'd', b"cut")].concat()[..15])
            .await
            .unwrap();
        drop(server);
        let mut seen = Vec::new();
        driver.read_to_end(&mut seen).await.unwrap();
        assert_eq!((seen.len(), rows.next().await.unwrap()), (5, b"row".to_vec()));
        drop(driver);
        assert!(rows.next().await.is_none());
    }
}

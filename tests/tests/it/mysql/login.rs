//! The authentication plugins of MariaDB.

use tests::mariadb::Mariadb;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use turntable::error::Kind;

use super::{fault, fetch, run};

/// Logs in as a user of this authentication plugin, with the right password and with a wrong one. Skips a server that
/// doesn't have the plugin.
async fn log_in(plugin: &'static str) {
    let server = tokio::task::spawn_blocking(move || {
        let plugins = tests::mariadb::plugins();
        if !plugins.join(format!("auth_{plugin}.so")).is_file() {
            return None;
        }
        let settings = [format!("--plugin-dir={}", plugins.display()), format!("--plugin-load-add=auth_{plugin}")];
        Some(Mariadb::start_with(&settings.each_ref().map(String::as_str)))
    });
    let Some(server) = server.await.unwrap() else {
        return println!("skipped: the server has no plugin {plugin}");
    };
    let server: &'static Mariadb = Box::leak(Box::new(server));
    run(server, format!("CREATE USER ed@'127.0.0.1' IDENTIFIED VIA {plugin} USING PASSWORD('secret')")).await;
    let url = server.url().replace("turntable:", "ed:").replace("/shop", "/information_schema");
    assert_eq!(fetch(&url, "SELECT 1 AS n").await.unwrap(), [[Some("1".to_owned())]]);
    // The driver fails with one of 256 nonces of ed25519.
    for login in 0..600 {
        let logged_in = fetch(&url, "SELECT 1 AS n").await;
        assert!(logged_in.is_ok(), "login {login}: {}", logged_in.unwrap_err());
    }
    let error = fault(&url.replace(":secret@", ":wrong@"), "SELECT 1 AS n").await;
    assert_eq!(error.kind(), Kind::Config, "{error}");
    server.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_ed25519_can_log_in() {
    log_in("ed25519").await;
}

/// MariaDB has parsec since 11.6.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_parsec_can_log_in() {
    log_in("parsec").await;
}

/// Reads one packet of the protocol.
async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.unwrap();
    let mut packet = vec![0; usize::from(header[0]) | usize::from(header[1]) << 8];
    stream.read_exact(&mut packet).await.unwrap();
    packet
}

async fn write(stream: &mut TcpStream, sequence: u8, packet: &[u8]) {
    let header = [u8::try_from(packet.len()).unwrap(), 0, 0, sequence];
    stream.write_all(&[&header[..], packet].concat()).await.unwrap();
}

/// The distribution's server may be older than parsec (MariaDB 11.6). So the test sends what such a server would,
/// according to the protocol's documentation:
/// <https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection>.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_parsec_sends_a_signature() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Version, connection, nonce, capabilities (4.1 protocol, plugins), character set, status, length of the nonce.
        let greeting = [
            b"\x0a5.5.5-11.8.2-MariaDB\0\x01\0\0\0abcdefgh\0\x08\xa2\x2d\x02\0\x08\0\x15".as_slice(),
            &[0; 10],
            b"ijklmnopqrst\0mysql_native_password\0",
        ];
        write(&mut stream, 0, &greeting.concat()).await;
        read(&mut stream).await;
        write(&mut stream, 2, &[b"\xfeparsec\0".as_slice(), &[7; 32], b"\0"].concat()).await;
        assert_eq!(read(&mut stream).await, b"");
        write(&mut stream, 4, &[b"\x01P\0".as_slice(), &[9; 18]].concat()).await;
        read(&mut stream).await.len()
    });
    let error = fault(&format!("mysql://u:p@{address}/d?ssl-mode=DISABLED"), "SELECT 1 AS n").await;
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    // The client's nonce and its signature.
    assert_eq!(server.await.unwrap(), 32 + 64);
}

//! Translates the driver's errors into ones that say what failed, on which server, and what to do.

use std::time::Duration;

use mysql_async::{DriverError, Error as MysqlError, IoError, ServerError};

use super::{
    codes,
    server::{Server, SslMode, WORDS},
};
use crate::tls;
use turntable_core::error::{Error, Kind};

/// The error code `ER_LOCK_WAIT_TIMEOUT`.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

const RUN_AGAIN: &str = "nothing was published; try again";

pub fn no_answer(server: &Server, timeout: Duration) -> Error {
    Error::unavailable(format!(
        "MySQL at {} did not respond within {} s: check the address and the network path (in AWS: subnet, security \
         group); {RUN_AGAIN}",
        server.address(),
        timeout.as_secs()
    ))
}

/// `ER_ACCESS_DENIED_ERROR` and `ER_ACCESS_DENIED_NO_PASSWORD_ERROR`.
pub const ACCESS_DENIED: u16 = 1045;
const ACCESS_DENIED_NO_PASSWORD: u16 = 1698;

pub fn at_connect(server: &Server, error: MysqlError) -> Error {
    let address = server.address();
    let plugin = |why: &str| {
        Error::config(format!(
            "MySQL at {address}: the user's authentication plugin {why}: change the user's plugin, or set another user in {}",
            server.given_by
        ))
    };
    match error {
        // MariaDB doesn't give a more specific reason.
        MysqlError::Server(ServerError { code: ACCESS_DENIED | ACCESS_DENIED_NO_PASSWORD, .. }) => {
            Error::config(format!(
                "MySQL at {address} rejected the password of user {:?}: correct it in {}{}",
                server.user(),
                server.given_by,
                // A user with REQUIRE SSL gets the same answer.
                if server.mode == SslMode::Disabled {
                    "; if the server requires TLS for this user, change ssl-mode"
                } else {
                    ""
                }
            ))
        }
        MysqlError::Driver(DriverError::NoClientSslFlagFromServer) => Error::config(format!(
            "MySQL at {address}: the server doesn't offer TLS, but ssl-mode {} requires it: {}",
            server.mode,
            tls::no_tls(&WORDS, &server.given_by)
        )),
        MysqlError::Driver(DriverError::UnknownAuthPlugin { name }) => plugin(&format!("{name:?} is not supported")),
        MysqlError::Driver(DriverError::CleartextPluginDisabled | DriverError::MysqlOldPasswordDisabled) => {
            plugin("sends the password without protection")
        }
        MysqlError::Io(IoError::Tls(error)) => tls_failed(server, &error.to_string(), None),
        MysqlError::Io(IoError::Io(error)) => match tls_cause(&error) {
            Some(cause) => tls_failed(server, &cause.to_string(), Some(cause)),
            None => Error::unavailable(format!(
                "MySQL at {address} is not reachable ({error}): check the address and the network path (in AWS: \
                 subnet, security group); {RUN_AGAIN}"
            )),
        },
        error => error_of(server, error),
    }
}

fn tls_failed(server: &Server, text: &str, cause: Option<&rustls::Error>) -> Error {
    let advice = tls::advice(&WORDS, cause, server.host(), &server.given_by);
    Error::config(format!("MySQL at {}: TLS connection failed ({text}): {advice}", server.address()))
}

/// Returns the TLS error that an I/O error wraps, or `None` if it wraps none.
fn tls_cause(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Translates an error that occurred after connecting and before the first row.
pub fn error_of(server: &Server, error: MysqlError) -> Error {
    match error {
        MysqlError::Server(answer) if answer.code == LOCK_WAIT_TIMEOUT => locked(server),
        MysqlError::Server(answer) => {
            let outcome = if answer.state.starts_with("42") { "rejected the query" } else { "returned an error" };
            let text = format!("MySQL at {} {outcome}: {}", server.name(), safe_message(&answer));
            Error::new(kind(&answer), text)
        }
        error => lost(server, 0, &error),
    }
}

/// Translates an error that occurred while reading rows, after `rows` rows.
pub fn while_reading(server: &Server, rows: u64, error: MysqlError) -> Error {
    match error {
        MysqlError::Server(answer) if answer.code == LOCK_WAIT_TIMEOUT => locked(server),
        MysqlError::Server(answer) => {
            let advice = if kind(&answer) == Kind::Unavailable { RUN_AGAIN } else { "nothing was published" };
            let (name, message) = (server.name(), safe_message(&answer));
            let text = format!("MySQL at {name} aborted the query after {rows} rows: {message}; {advice}");
            Error::new(kind(&answer), text)
        }
        error if is_too_large(&error) => too_large(server, rows),
        error => lost(server, rows, &error),
    }
}

/// Returns the error for a query that waited too long for a lock.
fn locked(server: &Server) -> Error {
    Error::unavailable(format!(
        "MySQL at {}: another session has held a lock on one of the query's tables for longer than lock_timeout ({} s): end that \
         session (SHOW PROCESSLIST lists it), or raise lock_timeout; {RUN_AGAIN}",
        server.name(),
        server.lock_timeout().as_secs()
    ))
}

/// Returns the error for a row that is larger than what the driver may read.
fn too_large(server: &Server, rows: u64) -> Error {
    Error::input(format!(
        "MySQL at {}: row {} is larger than {} MB, the most that fits in this machine's memory (at most 1,024 MB): give \
         the function more memory (ExportMemory in template.yaml), or select less of the row; nothing was published",
        server.name(),
        rows + 1,
        server.largest_row() >> 20
    ))
}

/// Returns whether the driver stopped reading a row because of its size. The driver's error type is private, so the
/// error is recognised by its text.
fn is_too_large(error: &MysqlError) -> bool {
    match error {
        MysqlError::Driver(DriverError::PacketTooLarge) => true,
        MysqlError::Io(IoError::Io(error)) => error.to_string() == "Packet is larger than max_allowed_packet",
        _ => false,
    }
}

fn lost(server: &Server, rows: u64, error: &MysqlError) -> Error {
    let cause = match error {
        MysqlError::Io(IoError::Io(error)) => error.to_string(),
        // The driver's text for other errors may contain the packet, and so a row's values.
        MysqlError::Driver(DriverError::ConnectionClosed) => "it was closed".into(),
        _ => "the server sent unexpected data".into(),
    };
    let name = server.name();
    Error::unavailable(format!("MySQL at {name}: the connection was lost after {rows} rows ({cause}); {RUN_AGAIN}"))
}

/// Maps a server error to an error kind, by its number (error references of MySQL and MariaDB) or else by its SQLSTATE
/// class.
fn kind(answer: &ServerError) -> Kind {
    match answer.code {
        // Failed logins, disallowed hosts, authentication plugins, unknown databases, missing privileges.
        1044 | 1045 | 1049 | 1130 | 1142 | 1143 | 1227 | 1251 | 1370 | 1524 | 1698 | 1820 | 1862 | 3118 | 3159
        | 4151 => Kind::Config,
        // Too many connections, shutdowns, network errors, locks, deadlocks, killed queries, time limits, a table that
        // was altered meanwhile, exhausted disk or memory.
        1021
        | 1037
        | 1038
        | 1040
        | 1041
        | 1053
        | 1077
        | 1079
        | 1080
        | 1129
        | 1135
        | 1152..=1161
        | 1184
        | 1203
        | 1205
        | 1213
        | 1226
        | 1317
        | 1412
        | 1836
        | 1927
        | 1969
        | 3024
        | 3169 => Kind::Unavailable,
        _ => match answer.state.get(..2) {
            Some("08" | "40" | "57" | "70") => Kind::Unavailable,
            Some("28") => Kind::Config,
            _ => Kind::Input,
        },
    }
}

/// Returns the server's message if it can't contain a row's value, and otherwise only the error's number, name and
/// SQLSTATE. An example of an unsafe message is `Truncated incorrect DOUBLE value: '…'`.
fn safe_message(answer: &ServerError) -> String {
    if kind(answer) != Kind::Input || codes::is_safe(answer.code) {
        return answer.message.clone();
    }
    let name = codes::name(answer.code).map(|name| format!(" {name}")).unwrap_or_default();
    format!(
        "error {}{name} (SQLSTATE {}; the message may contain a row's value: run the query in a client to see it)",
        answer.code, answer.state
    )
}

#[cfg(test)]
mod tests {
    use mysql_async::{Conn, OptsBuilder};
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn a_packet_that_is_too_large_is_known_by_its_text() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&[0xff, 0xff, 0xff, 0, 1]).await.unwrap();
            stream
        });
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port);
        let error = Conn::new(options).await.err().unwrap();
        assert!(is_too_large(&error), "{error:?}");
        drop(server.await.unwrap());
    }
}

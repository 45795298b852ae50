//! The driver's errors → ours: what, where, what to do.

use std::time::Duration;

use mysql_async::{DriverError, Error as Theirs, IoError, ServerError};

use super::server::Server;
use turntable_core::error::{Error, Kind};

const AGAIN: &str = "nothing was published; run it again";

pub fn no_answer(server: &Server, patience: Duration) -> Error {
    Error::unavailable(format!(
        "MySQL at {} did not answer within {} s: check the address and that it can be reached from here \
         (in AWS: subnet, security group); {AGAIN}",
        server.address(),
        patience.as_secs()
    ))
}

pub fn at_connect(server: &Server, error: Theirs) -> Error {
    let address = server.address();
    let correct = |what: &str| Error::config(format!("MySQL at {address}: {what}: correct {}", server.given_by));
    match error {
        // Access denied, with and without a password; MariaDB tells of no more.
        Theirs::Server(ServerError { code: 1045 | 1698, .. }) => Error::config(format!(
            "MySQL at {address} refuses the password of user {:?}: correct it in {}",
            server.user(),
            server.given_by
        )),
        Theirs::Driver(DriverError::NoClientSslFlagFromServer) => correct("it offers no TLS, and ssl-mode demands it"),
        Theirs::Driver(DriverError::UnknownAuthPlugin { name }) => {
            correct(&format!("it wants the user to log in by {name:?}, which is not known here"))
        }
        Theirs::Driver(DriverError::CleartextPluginDisabled | DriverError::MysqlOldPasswordDisabled) => {
            correct("it wants the password in a way that anybody could read")
        }
        Theirs::Io(IoError::Tls(error)) => no_tls(server, &error.to_string()),
        Theirs::Io(IoError::Io(error)) => match tls_within(&error) {
            Some(cause) => no_tls(server, &cause),
            None => Error::unavailable(format!(
                "MySQL at {address} is not reachable ({error}): check the address and that it can be reached from here \
                 (in AWS: subnet, security group); {AGAIN}"
            )),
        },
        error => of(server, error),
    }
}

fn no_tls(server: &Server, cause: &str) -> Error {
    Error::config(format!(
        "MySQL at {}: no TLS connection ({cause}): check ssl-mode and ssl-ca in {}",
        server.address(),
        server.given_by
    ))
}

fn tls_within(error: &std::io::Error) -> Option<String> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(ToString::to_string)
}

/// Of anything between the connection and the first row.
pub fn of(server: &Server, error: Theirs) -> Error {
    match error {
        Theirs::Server(answer) => {
            let does = if answer.state.starts_with("42") { "refuses the query" } else { "answers" };
            let text = format!("MySQL at {} {does}: {}", server.name(), said(&answer));
            Error::new(kind(&answer), text)
        }
        error => lost(server, 0, &error),
    }
}

/// After so many rows.
pub fn while_reading(server: &Server, rows: u64, error: Theirs) -> Error {
    match error {
        Theirs::Server(answer) => {
            let advice = if kind(&answer) == Kind::Unavailable { AGAIN } else { "nothing was published" };
            let said = said(&answer);
            let text = format!("MySQL at {} ended the query after {rows} rows: {said}; {advice}", server.name());
            Error::new(kind(&answer), text)
        }
        error => lost(server, rows, &error),
    }
}

fn lost(server: &Server, rows: u64, error: &Theirs) -> Error {
    let cause = match error {
        Theirs::Io(IoError::Io(error)) => error.to_string(),
        // The driver's own words about a packet would hold the packet.
        Theirs::Driver(DriverError::ConnectionClosed) => "it is closed".into(),
        Theirs::Driver(DriverError::PacketTooLarge) => "a row exceeds the server's max_allowed_packet".into(),
        _ => "what it sent is not understood".into(),
    };
    let name = server.name();
    Error::unavailable(format!("MySQL at {name}: the connection was lost after {rows} rows ({cause}); {AGAIN}"))
}

/// By the numbers of MySQL's and MariaDB's error references.
fn kind(answer: &ServerError) -> Kind {
    match answer.code {
        // Who may log in, from where and how, to which database; what they may read.
        1044 | 1045 | 1049 | 1130 | 1142 | 1143 | 1227 | 1251 | 1370 | 1524 | 1698 | 1820 | 1862 | 3118 | 3159
        | 4151 => Kind::Config,
        // Too many connections, shut-down, the network, locks, a deadlock, a kill, a time limit, a table that was
        // altered meanwhile, disk and memory.
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

/// What the server says, where that cannot hold a value of a row: `Truncated incorrect DOUBLE value: '…'`.
fn said(answer: &ServerError) -> String {
    let known = kind(answer) != Kind::Input;
    if known || matches!(answer.state.get(..2), Some("08" | "25" | "28" | "40" | "42")) {
        return answer.message.clone();
    }
    format!("error {} ({}; its text may hold a value, and stands with the server only)", answer.code, answer.state)
}

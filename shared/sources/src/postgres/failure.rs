//! Translates the driver's errors into ones that say what failed, on which server, and what to do.

use std::time::Duration;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::server::Server;
use turntable_core::error::{Error, Kind};

const RUN_AGAIN: &str = "nothing was published; try again";

pub const POOLER: &str = "a pooler in transaction or statement mode is in front of the server: connect to the server \
                          itself, or to a pool in session mode";

pub fn no_answer(server: &Server, timeout: Duration) -> Error {
    Error::unavailable(format!(
        "PostgreSQL at {} did not respond within {} s: check the address and the network path (in AWS: subnet, \
         security group); {RUN_AGAIN}",
        server.address(),
        timeout.as_secs()
    ))
}

pub fn at_connect(server: &Server, error: tokio_postgres::Error) -> Error {
    if let Some(answer) = error.as_db_error() {
        let user = server.options.get_user().unwrap_or_default();
        return match *answer.code() {
            SqlState::INVALID_PASSWORD => Error::config(format!(
                "PostgreSQL at {} rejected the password of user {user:?}: correct it in {}",
                server.address(),
                server.given_by
            )),
            _ => error_of(server, error),
        };
    }
    let cause = root_cause(&error);
    match error.to_string() {
        text if text.starts_with(TLS_HANDSHAKE_FAILED) => Error::config(format!(
            "PostgreSQL at {}: TLS connection failed ({cause}): check sslmode and sslrootcert in {}",
            server.address(),
            server.given_by
        )),
        text if text.starts_with("invalid configuration") || text.starts_with("authentication error") => Error::config(
            format!("PostgreSQL at {}: {cause}: set it correctly in {}", server.address(), server.given_by),
        ),
        _ => Error::unavailable(format!(
            "PostgreSQL at {} is not reachable ({cause}): check the address and the network path (in AWS: subnet, \
             security group); {RUN_AGAIN}",
            server.address()
        )),
    }
}

const TLS_HANDSHAKE_FAILED: &str = "error performing TLS handshake";

/// Returns whether a connection attempt that failed with this error may succeed without TLS instead of with it, or vice
/// versa.
pub fn may_depend_on_tls(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some() || error.to_string().starts_with(TLS_HANDSHAKE_FAILED)
}

/// Returns the kind and the advice for an error that a pooler causes, and `None` for any other error. PgBouncer itself
/// sends such errors (`src/client.c`, `src/server.c`), or a server does because the pooler mixes the statements of
/// several clients.
fn pooler_advice(answer: &DbError) -> Option<(Kind, &'static str)> {
    let text = answer.message();
    let undefined = [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];
    if undefined.contains(answer.code()) || text.contains("statement pooling mode") {
        Some((Kind::Config, POOLER))
    } else if text.starts_with("unsupported startup parameter") {
        Some((
            Kind::Config,
            "a pooler is in front of the server: remove the parameter, or allow it in the pooler \
                             (PgBouncer: ignore_startup_parameters)",
        ))
    } else if text.starts_with("query_wait_timeout") {
        Some((
            Kind::Unavailable,
            "the pooler has no free connection: make the pool larger than parallel, or connect to the server itself",
        ))
    } else {
        None
    }
}

/// Translates an error that occurred after connecting and before the first row.
pub fn error_of(server: &Server, error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(answer) if let Some((kind, advice)) = pooler_advice(answer) => {
            let message = safe_message(answer);
            Error::new(kind, format!("PostgreSQL at {} returned an error: {message}: {advice}", server.name()))
        }
        Some(answer) => {
            let outcome =
                if answer.code().code().starts_with("42") { "rejected the query" } else { "returned an error" };
            let text =
                format!("PostgreSQL at {} {outcome}: {}{}", server.name(), safe_message(answer), position(answer));
            Error::new(kind(answer.code()), text)
        }
        None => lost(server, 0, &error),
    }
}

/// Returns whether `SET TRANSACTION SNAPSHOT` failed because the snapshot doesn't exist. PostgreSQL up to 16 sends the
/// first code, newer versions the second (`ImportSnapshot` in `snapmgr.c`).
pub fn is_missing_snapshot(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| [SqlState::INVALID_PARAMETER_VALUE, SqlState::UNDEFINED_OBJECT].contains(code))
}

/// Returns the error for a connection that can't use the exported snapshot.
pub fn missing_snapshot(server: &Server) -> Error {
    Error::unavailable(format!(
        "PostgreSQL at {} doesn't have the snapshot that another connection exported: that connection was lost, or the \
         address leads to several servers (name one of them); {RUN_AGAIN}",
        server.name()
    ))
}

/// Translates an error that occurred during a COPY, after `rows` rows.
pub fn while_copying(server: &Server, rows: u64, error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(answer) => {
            let advice = if kind(answer.code()) == Kind::Unavailable { RUN_AGAIN } else { "nothing was published" };
            let (name, message) = (server.name(), safe_message(answer));
            let text = format!("PostgreSQL at {name} aborted the COPY after {rows} rows: {message}; {advice}");
            Error::new(kind(answer.code()), text)
        }
        None => lost(server, rows, &error),
    }
}

fn lost(server: &Server, rows: u64, error: &tokio_postgres::Error) -> Error {
    let (name, cause) = (server.name(), root_cause(error));
    Error::unavailable(format!(
        "PostgreSQL at {name}: the connection was lost after {rows} rows ({cause}); {RUN_AGAIN}"
    ))
}

/// Maps a SQLSTATE to an error kind, mostly by its class (PostgreSQL's manual, appendix A).
fn kind(code: &SqlState) -> Kind {
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Kind::Config;
    }
    match &code.code()[..2] {
        // Lost connections, rollbacks (such as a replica's conflicts with recovery), exhausted resources, locks,
        // operator intervention, system errors, internal errors.
        "08" | "40" | "53" | "55" | "57" | "58" | "XX" => Kind::Unavailable,
        // Failed logins and unknown databases.
        "28" | "3D" => Kind::Config,
        _ => Kind::Input,
    }
}

/// Returns the server's message if it can't contain a row's value, and otherwise only the SQLSTATE. An example of an
/// unsafe message is `invalid input syntax for type integer: "…"`.
fn safe_message(answer: &DbError) -> String {
    let code = answer.code().code();
    match &code[..2] {
        "08" | "0A" | "25" | "26" | "28" | "3D" | "3F" | "40" | "42" | "53" | "54" | "55" | "57" | "58" => {
            answer.message().to_owned()
        }
        _ => format!("SQLSTATE {code} (the message may contain a row's value: see the server's log)"),
    }
}

fn position(answer: &DbError) -> String {
    match answer.position() {
        Some(ErrorPosition::Original(at)) => format!(" (at character {at} of the query)"),
        _ => String::new(),
    }
}

fn root_cause(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

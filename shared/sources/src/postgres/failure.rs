//! The driver's errors → ours: what, where, what to do.

use std::time::Duration;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::server::Server;
use turntable_core::error::{Error, Kind};

const AGAIN: &str = "nothing was published; run it again";

pub const POOLER: &str = "a pooler in transaction or statement mode stands before the server: connect to the server itself, or to \
                          a pool in session mode";

pub fn no_answer(server: &Server, patience: Duration) -> Error {
    Error::unavailable(format!(
        "PostgreSQL at {} did not answer within {} s: check the address and that it can be reached from here \
         (in AWS: subnet, security group); {AGAIN}",
        server.address(),
        patience.as_secs()
    ))
}

pub fn at_connect(server: &Server, error: tokio_postgres::Error) -> Error {
    if let Some(answer) = error.as_db_error() {
        let user = server.options.get_user().unwrap_or_default();
        return match *answer.code() {
            SqlState::INVALID_PASSWORD => Error::config(format!(
                "PostgreSQL at {} refuses the password of user {user:?}: correct it in {}",
                server.address(),
                server.given_by
            )),
            _ => of(server, error),
        };
    }
    let cause = deepest(&error);
    match error.to_string() {
        text if text.starts_with(NO_TLS) => Error::config(format!(
            "PostgreSQL at {}: no TLS connection ({cause}): check sslmode and sslrootcert in {}",
            server.address(),
            server.given_by
        )),
        text if text.starts_with("invalid configuration") || text.starts_with("authentication error") => {
            Error::config(format!("PostgreSQL at {}: {cause}: correct {}", server.address(), server.given_by))
        }
        _ => Error::unavailable(format!(
            "PostgreSQL at {} is not reachable ({cause}): check the address and that it can be reached from here \
             (in AWS: subnet, security group); {AGAIN}",
            server.address()
        )),
    }
}

const NO_TLS: &str = "error performing TLS handshake";

/// Whether a server that is not spoken to this way may be spoken to the other way, with TLS or without.
pub fn other_way(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some() || error.to_string().starts_with(NO_TLS)
}

/// What is known of a pooler's answers: PgBouncer's own (`src/client.c`, `src/server.c`), and those of a server that is
/// given another's statements.
fn of_a_pooler(answer: &DbError) -> Option<(Kind, &'static str)> {
    let text = answer.message();
    let undefined = [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];
    if undefined.contains(answer.code()) || text.contains("statement pooling mode") {
        Some((Kind::Config, POOLER))
    } else if text.starts_with("unsupported startup parameter") {
        Some((
            Kind::Config,
            "a pooler stands before the server: leave the parameter out, or allow it in the pooler \
                             (PgBouncer: ignore_startup_parameters)",
        ))
    } else if text.starts_with("query_wait_timeout") {
        Some((
            Kind::Unavailable,
            "a pooler has no connection left for us: make the pool larger than parallel, or connect to \
                                  the server itself",
        ))
    } else {
        None
    }
}

/// Of anything between the connection and the first row.
pub fn of(server: &Server, error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(answer) if let Some((kind, advice)) = of_a_pooler(answer) => {
            let said = said(answer);
            Error::new(kind, format!("PostgreSQL at {} answers: {said}: {advice}", server.name()))
        }
        Some(answer) => {
            let does = if answer.code().code().starts_with("42") { "refuses the query" } else { "answers" };
            let text = format!("PostgreSQL at {} {does}: {}{}", server.name(), said(answer), place(answer));
            Error::new(kind(answer.code()), text)
        }
        None => lost(server, 0, &error),
    }
}

/// Whether `SET TRANSACTION SNAPSHOT` has found none: the first is of PostgreSQL 16 and older, the other of newer ones
/// (`ImportSnapshot` in `snapmgr.c`).
pub fn no_snapshot(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| [SqlState::INVALID_PARAMETER_VALUE, SqlState::UNDEFINED_OBJECT].contains(code))
}

pub fn other_snapshot(server: &Server) -> Error {
    Error::unavailable(format!(
        "PostgreSQL at {} does not know the snapshot that another connection has: that connection was lost, or the address \
         stands for several servers: name one of them; {AGAIN}",
        server.name()
    ))
}

/// After so many rows of a copy.
pub fn while_copying(server: &Server, rows: u64, error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(answer) => {
            let advice = if kind(answer.code()) == Kind::Unavailable { AGAIN } else { "nothing was published" };
            let said = said(answer);
            let text = format!("PostgreSQL at {} ended the copy after {rows} rows: {said}; {advice}", server.name());
            Error::new(kind(answer.code()), text)
        }
        None => lost(server, rows, &error),
    }
}

fn lost(server: &Server, rows: u64, error: &tokio_postgres::Error) -> Error {
    let (name, cause) = (server.name(), deepest(error));
    Error::unavailable(format!("PostgreSQL at {name}: the connection was lost after {rows} rows ({cause}); {AGAIN}"))
}

/// By class of SQLSTATE (PostgreSQL's manual, appendix A).
fn kind(code: &SqlState) -> Kind {
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Kind::Config;
    }
    match &code.code()[..2] {
        // Connection, roll-back (of a replica that must catch up), resources, locks, operator, system, internal.
        "08" | "40" | "53" | "55" | "57" | "58" | "XX" => Kind::Unavailable,
        // Who may log in, and to which database.
        "28" | "3D" => Kind::Config,
        _ => Kind::Input,
    }
}

/// What the server says, where that cannot hold a value of a row: `invalid input syntax for type integer: "…"`.
fn said(answer: &DbError) -> String {
    let code = answer.code().code();
    match &code[..2] {
        "08" | "0A" | "25" | "26" | "28" | "3D" | "3F" | "40" | "42" | "53" | "54" | "55" | "57" | "58" => {
            answer.message().to_owned()
        }
        _ => format!("SQLSTATE {code} (its text may hold a value, and stands in the server's log only)"),
    }
}

fn place(answer: &DbError) -> String {
    match answer.position() {
        Some(ErrorPosition::Original(at)) => format!(" (at character {at} of the query)"),
        _ => String::new(),
    }
}

fn deepest(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

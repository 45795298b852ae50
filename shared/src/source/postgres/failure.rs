//! The driver's errors → ours: what, where, what to do.

use std::time::Duration;

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::server::Server;
use crate::error::{Error, Kind};

const AGAIN: &str = "nothing was published; run export again";

pub fn no_answer(server: &Server, patience: Duration) -> Error {
    Error::unavailable(format!(
        "PostgreSQL at {} did not answer within {} s: check the address and that this function may reach it \
         (subnet, security group); {AGAIN}",
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
        text if text.starts_with("error performing TLS handshake") => Error::config(format!(
            "PostgreSQL at {}: no TLS connection ({cause}): check sslmode and sslrootcert in {}",
            server.address(),
            server.given_by
        )),
        text if text.starts_with("invalid configuration") || text.starts_with("authentication error") => {
            Error::config(format!("PostgreSQL at {}: {cause}: correct {}", server.address(), server.given_by))
        }
        _ => Error::unavailable(format!(
            "PostgreSQL at {} is not reachable ({cause}): check the address and that this function may reach it \
             (subnet, security group); {AGAIN}",
            server.address()
        )),
    }
}

/// Of anything between the connection and the first row.
pub fn of(server: &Server, error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(answer) => {
            let does = if answer.code().code().starts_with("42") { "refuses the query" } else { "answers" };
            let text = format!("PostgreSQL at {} {does}: {}{}", server.name(), said(answer), place(answer));
            Error::new(kind(answer.code()), text)
        }
        None => lost(server, 0, &error),
    }
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

//! Translates the driver's errors into ones that say what failed, on which server, and what to do.

use std::{error::Error as _, time::Duration};

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::{server::Server, sqlstate, tls::WORDS, types::quoted};
use crate::tls;
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
            // No row has been read yet, so the server's message can't hold a row's value.
            _ => before_rows(server, "", "", error, |answer| answer.message().to_owned()),
        };
    }
    let cause = root_cause(&error);
    match error.to_string() {
        text if text.starts_with(TLS_HANDSHAKE_FAILED) => {
            let advice = match cause.as_str() {
                NO_TLS => tls::no_tls(&WORDS, &server.given_by),
                _ => tls::advice(&WORDS, tls_error(&error), server.host(), &server.given_by),
            };
            Error::config(format!("PostgreSQL at {}: TLS connection failed ({cause}): {advice}", server.address()))
        }
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
/// The driver's error message if the server doesn't offer TLS.
const NO_TLS: &str = "server does not support TLS";

/// Returns the TLS error that a driver error wraps, or `None` if it wraps none.
fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let wrapped = error.source()?.downcast_ref::<std::io::Error>()?;
    wrapped.get_ref()?.downcast_ref()
}

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

/// Returns the kind and the advice for an error with a known fix, and `None` for any other error. `at` is the position
/// in the user's `query` that the server names, in characters from 1.
fn advice(server: &Server, answer: &DbError, query: &str, at: Option<usize>) -> Option<(Kind, String)> {
    if let Some((kind, advice)) = pooler_advice(answer) {
        return Some((kind, advice.to_owned()));
    }
    // `check_enable_rls` in `src/backend/utils/misc/rls.c`; the message may be in any language.
    let is_row_security = *answer.code() == SqlState::INSUFFICIENT_PRIVILEGE
        && (answer.routine() == Some("check_enable_rls") || answer.message().contains("row-level security"));
    if is_row_security {
        let user = server.options.get_user().unwrap_or_default();
        let advice = format!(
            "rows would be missing: give the user a role with BYPASSRLS (ALTER ROLE {} BYPASSRLS), or set row_security = \
             true to publish only the rows that the policies show",
            quoted(user)
        );
        return Some((Kind::Input, advice));
    }
    (*answer.code() == SqlState::LOCK_NOT_AVAILABLE).then(|| {
        let table = at.and_then(|at| name_at(query, at)).map(|name| format!("{name} is locked: "));
        let advice = format!(
            "{}another session has held or awaited a lock that blocks readers (ALTER TABLE, TRUNCATE, LOCK, VACUUM FULL, …) \
             for more than lock_timeout, {} s: wait until it has ended, or end it (pg_blocking_pids() names it); \
             {RUN_AGAIN}",
            table.unwrap_or_default(),
            server.lock_timeout
        );
        (Kind::Unavailable, advice)
    })
}

/// Returns the name, including its schema, that starts at this position in the query. The position is in characters
/// from 1.
fn name_at(query: &str, at: usize) -> Option<&str> {
    let rest = &query[query.char_indices().nth(at.checked_sub(1)?)?.0..];
    let mut is_quoted = false;
    let end = rest.find(|c: char| {
        is_quoted ^= c == '"';
        !(is_quoted || c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '"'))
    });
    Some(&rest[..end.unwrap_or(rest.len())]).filter(|name| !name.is_empty())
}

/// Translates an error that occurred after connecting and before the first row, in one of Turntable's own statements.
pub fn error_of(server: &Server, error: tokio_postgres::Error) -> Error {
    before_rows(server, "", "", error, sqlstate::message)
}

/// Translates an error in preparing the user's query. No row has been read by then, so the server's message can't hold
/// a row's value.
pub fn at_prepare(server: &Server, query: &str, error: tokio_postgres::Error) -> Error {
    before_rows(server, query, query, error, |answer| answer.message().to_owned())
}

/// Translates an error that occurred before the first row, in the statement `sql`, which contains the user's query.
pub fn in_statement(server: &Server, sql: &str, query: &str, error: tokio_postgres::Error) -> Error {
    before_rows(server, sql, query, error, sqlstate::message)
}

fn before_rows(
    server: &Server,
    sql: &str,
    query: &str,
    error: tokio_postgres::Error,
    message: impl Fn(&DbError) -> String,
) -> Error {
    let Some(answer) = error.as_db_error() else { return lost(server, 0, &error) };
    let at = position(answer, sql, query);
    let known = advice(server, answer, query, at);
    let rejected = answer.code().code().starts_with("42") && !query.is_empty();
    let outcome = if rejected { "rejected the query" } else { "returned an error" };
    let place = at.map(|at| format!(" (at character {at} of the query)")).unwrap_or_default();
    let text = format!("PostgreSQL at {} {outcome}: {}{place}", server.name(), message(answer));
    match known {
        Some((kind, advice)) => Error::new(kind, format!("{text}: {advice}")),
        None => Error::new(kind(answer.code()), text),
    }
}

/// Returns whether `SET TRANSACTION SNAPSHOT` failed because the snapshot doesn't exist. PostgreSQL up to 16 and newer
/// versions send different codes for this (`ImportSnapshot` in `snapmgr.c`).
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
    let Some(answer) = error.as_db_error() else { return lost(server, rows, &error) };
    let (kind, advice) = advice(server, answer, "", None).unwrap_or_else(|| match kind(answer.code()) {
        Kind::Unavailable => (Kind::Unavailable, RUN_AGAIN.to_owned()),
        kind => (kind, "nothing was published".to_owned()),
    });
    let (name, message) = (server.name(), sqlstate::message(answer));
    Error::new(kind, format!("PostgreSQL at {name} aborted the COPY after {rows} rows: {message}; {advice}"))
}

/// Returns the error for a server that didn't answer with its settings.
pub fn no_settings(server: &Server) -> Error {
    Error::corrupt(format!(
        "PostgreSQL at {}: the server didn't return its settings: run the export again",
        server.name()
    ))
}

/// Returns the error for a server that skips damaged rows.
pub fn skips_damaged_rows(server: &Server, settings: &str) -> Error {
    Error::config(format!(
        "PostgreSQL at {}: {settings} is on, so damaged rows could be missing or wrong: turn it off for this user (ALTER ROLE \
         … RESET …), the database and the server",
        server.name()
    ))
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

/// Returns the position of the error in the user's query, in characters from 1. The server counts in `sql`, which
/// contains the query. Returns `None` if the error is outside the query.
fn position(answer: &DbError, sql: &str, query: &str) -> Option<usize> {
    let Some(ErrorPosition::Original(at)) = answer.position() else { return None };
    let before = sql[..sql.find(query)?].chars().count();
    let at = usize::try_from(*at).ok()?.checked_sub(before)?;
    (1..=query.chars().count() + 1).contains(&at).then_some(at).filter(|_| !query.is_empty())
}

fn root_cause(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_tables_name_is_read_from_the_query() {
        let query = "SELECT 渡 FROM public.\"My Table\" AS t";
        assert_eq!(name_at(query, 15), Some("public.\"My Table\""));
        assert_eq!(name_at(query, 8), Some("渡"));
        assert_eq!(name_at("TABLE t", 7), Some("t"));
        assert_eq!((name_at(query, 0), name_at(query, 100), name_at(query, 7)), (None, None, None));
    }
}

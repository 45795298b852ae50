//! Starts the snapshots of several connections at the same moment. Neither MySQL nor MariaDB lets connections share one.

use futures::future::try_join_all;
use mysql_async::{Error as MysqlError, Value, prelude::Queryable};

use super::{failure, server::Server, session::Session, value::text};
use turntable_core::{
    config::SharedSnapshot,
    error::{Error, Result},
};

/// How many times the connections try to take their snapshots, if a transaction commits between two of them.
const MAX_ATTEMPTS: u32 = 50;

/// What else to do if the binary log can't show that the snapshots are the same.
const OTHERWISE: &str = "set snapshot = \"lock\", or remove parallel";

/// `ER_SPECIFIC_ACCESS_DENIED_ERROR`.
const MISSING_PRIVILEGE: u16 = 1227;

/// `ER_DBACCESS_DENIED_ERROR` and `ER_TABLEACCESS_DENIED_ERROR`, which answer LOCK TABLES.
const MISSING_LOCK_PRIVILEGE: [u16; 2] = [1044, 1142];

/// Returns `count` sessions that read the same snapshot, or snapshots from different moments if `how` is
/// [`SharedSnapshot::None`]. `first` is one of them. `table` is the one table that they read, in SQL.
pub async fn sessions(
    server: &Server,
    first: Session,
    count: u32,
    how: SharedSnapshot,
    table: &str,
) -> Result<Vec<Session>> {
    let others = try_join_all((1..count).map(|_| Session::connect(server))).await?;
    let mut sessions: Vec<Session> = [first].into_iter().chain(others).collect();
    match how {
        SharedSnapshot::Binlog => at_one_position(server, &mut sessions).await?,
        SharedSnapshot::Lock => under_a_lock(server, &mut sessions, table).await?,
        SharedSnapshot::None => take_all(server, &mut sessions).await?,
    }
    Ok(sessions)
}

/// If `how` uses the binary log, checks that the log can show whether two snapshots are the same. Otherwise does
/// nothing.
pub async fn check(server: &Server, session: &mut Session, how: SharedSnapshot) -> Result<()> {
    if how == SharedSnapshot::Binlog { everything_is_logged(server, session).await } else { Ok(()) }
}

async fn take_all(server: &Server, sessions: &mut [Session]) -> Result<()> {
    try_join_all(sessions.iter_mut().map(|session| session.take_snapshot(server))).await?;
    Ok(())
}

/// Takes all snapshots while a read lock on the table stops its writers. The lock waits for transactions that have
/// written to the table, so no commit happens between the snapshots.
async fn under_a_lock(server: &Server, sessions: &mut [Session], table: &str) -> Result<()> {
    let mut holder = Session::connect(server).await?;
    let locked = holder.conn()?.query_drop(format!("LOCK TABLES {table} READ")).await;
    locked.map_err(|error| match error {
        MysqlError::Server(answer) if MISSING_LOCK_PRIVILEGE.contains(&answer.code) => Error::config(format!(
            "MySQL at {}: snapshot = \"lock\" needs the LOCK TABLES privilege on {table}: grant it, or remove parallel",
            server.name()
        )),
        error => failure::error_of(server, error),
    })?;
    take_all(server, sessions).await?;
    // Closing the connection releases the lock too, so a failure here doesn't matter.
    let _ = holder.conn()?.query_drop("UNLOCK TABLES").await;
    holder.end().await;
    Ok(())
}

/// Takes all snapshots, again and again until all have the same position in the binary log.
async fn at_one_position(server: &Server, sessions: &mut [Session]) -> Result<()> {
    if let Some(first) = sessions.first_mut() {
        everything_is_logged(server, first).await?;
    }
    for _ in 0..MAX_ATTEMPTS {
        take_all(server, sessions).await?;
        let mut positions = Vec::new();
        for session in sessions.iter_mut() {
            positions.push(position(server, session).await?);
        }
        if positions.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(());
        }
    }
    Err(Error::unavailable(format!(
        "MySQL at {}: transactions are committed so often that {} connections could not start from the same position in \
         the binary log in {MAX_ATTEMPTS} attempts: {OTHERWISE}",
        server.name(),
        sessions.len()
    )))
}

/// Returns the file and the position in the binary log of the session's snapshot.
async fn position(server: &Server, session: &mut Session) -> Result<(String, String)> {
    let found = status(session, "Binlog_snapshot_%").await.map_err(|error| failure::error_of(server, error))?;
    let of = |name: &str| {
        let value = found.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
        value.filter(|value| !value.is_empty())
    };
    of("binlog_snapshot_file").zip(of("binlog_snapshot_position")).ok_or_else(|| {
        Error::config(format!(
            "MySQL at {}: snapshot = \"binlog\" needs MariaDB with its binary log on (log_bin), because only MariaDB \
             shows a snapshot's position in the log: {OTHERWISE}",
            server.name()
        ))
    })
}

/// Fails unless every committed change moves the position in the binary log: a server may leave databases out of the
/// log, and a replica may leave out what it replicates.
async fn everything_is_logged(server: &Server, session: &mut Session) -> Result<()> {
    let failed = |error| failure::error_of(server, error);
    position(server, session).await?;
    let filters: Option<(Value, Value, Value, Value)> =
        session.conn()?.query_first("SHOW MASTER STATUS").await.map_err(|error| match error {
            MysqlError::Server(answer) if answer.code == MISSING_PRIVILEGE => Error::config(format!(
                "MySQL at {}: snapshot = \"binlog\" needs the BINLOG MONITOR privilege to check that the binary log leaves no \
                 database out: grant it, or {OTHERWISE}",
                server.name()
            )),
            error => failed(error),
        })?;
    let has_filter = filters.is_some_and(|(_, _, only, without)| !(text(&only) + &text(&without)).is_empty());
    let replicas = status(session, "Slaves_running").await.map_err(failed)?;
    let replicates = replicas.iter().any(|(_, running)| running != "0");
    let logs: Option<Option<i64>> = session.conn()?.query_first("SELECT @@log_slave_updates").await.map_err(failed)?;
    let why = match (has_filter, replicates && logs.flatten() != Some(1)) {
        (true, _) => "its binary log leaves databases out (binlog-do-db, binlog-ignore-db)",
        (_, true) => "it is a replica whose binary log lacks what it replicates (log_slave_updates is off)",
        _ => return Ok(()),
    };
    Err(Error::config(format!(
        "MySQL at {}: the position in the binary log can't prove that all connections see the same snapshot, because {why}: {OTHERWISE}",
        server.name()
    )))
}

/// Returns the session's status variables whose names match the pattern.
async fn status(session: &mut Session, pattern: &str) -> Result<Vec<(String, String)>, MysqlError> {
    let conn = session.conn().map_err(|error| MysqlError::Other(error.to_string().into()))?;
    let found: Vec<(Value, Value)> = conn.query(format!("SHOW SESSION STATUS LIKE '{pattern}'")).await?;
    Ok(found.iter().map(|(name, value)| (text(name), text(value))).collect())
}

//! Peers: exporters of other projects that read both databases. They need a Python environment of their own (peers.in).

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    mariadb,
    place::{Place, script},
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// DuckDB with its extension for the database, on this number of threads.
    DuckDb(u32),
    /// ConnectorX into Arrow, written by pyarrow, with this number of partitions.
    ConnectorX(u32),
    /// rivet: one query on one connection, or ranges of the key on several.
    Rivet(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Postgres,
    Mariadb,
}

impl Peer {
    pub fn name(self, database: Database) -> String {
        let name = match self {
            Peer::DuckDb(threads) => format!("duckdb_{threads}"),
            Peer::ConnectorX(partitions) => format!("connectorx_{partitions}"),
            Peer::Rivet(connections) => format!("rivet_{connections}"),
        };
        match database {
            Database::Postgres => name,
            Database::Mariadb => format!("mariadb_{name}"),
        }
    }

    /// Returns the command that copies `table` into files in `out`.
    pub fn command(self, place: &Place, database: Database, table: &str, out: &Path) -> Result<Command> {
        let mut command = Command::new(&place.tools.peers);
        let url = match database {
            Database::Postgres => place.server.url(),
            Database::Mariadb => place.mariadb()?.url(),
        };
        // ConnectorX and rivet accept only this form.
        let url = url.replacen("postgres:", "postgresql:", 1);
        match (self, database) {
            (Peer::DuckDb(threads), Database::Postgres) => {
                command.arg(script("duckdb_postgres.py")).arg(table).arg(out).arg(threads.to_string());
            }
            (Peer::DuckDb(threads), Database::Mariadb) => {
                let port = place.mariadb()?.port().to_string();
                command.arg(script("duckdb_mysql.py"));
                command.args(["127.0.0.1", &port, mariadb::USER, mariadb::PASSWORD, mariadb::DATABASE, table]);
                command.arg(out).arg(threads.to_string());
            }
            (Peer::ConnectorX(partitions), _) => {
                command.arg(script("connector_x.py")).args([&url, table]).arg(out).arg(partitions.to_string());
            }
            (Peer::Rivet(connections), _) => {
                command.arg(script("rivet.py")).args([&url, table]).arg(out).arg(connections.to_string());
            }
        }
        Ok(command)
    }
}

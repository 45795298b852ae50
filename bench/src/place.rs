//! The tools, the servers and the folder that all contenders share.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    mariadb::Mariadb,
    postgres::{PASSWORD, Postgres, USER},
    store::Store,
    tools::{self, Tools},
};

/// The tools, the servers and the folder that all contenders share.
pub struct Place {
    pub tools: Tools,
    pub server: Postgres,
    /// Started only for the section that needs it.
    pub mariadb: Option<Mariadb>,
    pub store: Store,
    /// The program `bench` of another build, to compare with.
    pub baseline: Option<PathBuf>,
    /// A folder for temporary files.
    pub work: PathBuf,
}

impl Place {
    pub fn mariadb(&self) -> Result<&Mariadb> {
        self.mariadb.as_ref().context("MariaDB is not running")
    }
}

/// Sets the environment variables that libpq clients need to find the server, and AWS clients to find S3.
pub fn connected(command: &mut Command, place: &Place) {
    command
        .envs([("PGHOST", "127.0.0.1"), ("PGUSER", USER), ("PGPASSWORD", PASSWORD), ("PGDATABASE", "postgres")])
        .env("PGPORT", place.server.port().to_string())
        .envs(place.store.environment());
}

/// Returns the path of a contender's script.
pub fn script(name: &str) -> PathBuf {
    tools::file("contenders").join(name)
}

//! The contenders: each is a command that runs in its own process, reads a table or a file, and writes Parquet files.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    peer::{Database, Peer},
    place::{Place, connected, script},
    store::BUCKET,
    table,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// PySpark's JDBC source, with this number of partitions.
    PySpark(u32),
    AwsWrangler,
    Adbc,
    PsqlDuckdb,
    /// Turntable writing to disk, with this number of connections.
    Ours(u32),
    /// Turntable writing to S3, with this number of connections.
    OursS3(u32),
    /// Turntable writing to disk over one connection, at this level of ZSTD.
    Level(i32),
    /// A lower bound: the server's work alone, with a client that discards all rows.
    PsqlCopy,
    /// A lower bound: the work of Turntable's writer alone, with all rows already in memory.
    EncodeOnly,
    /// Converts a file of this format to Parquet, with this engine.
    Files(Engine, Format),
    /// Turntable reading from MariaDB, with this number of connections.
    OursMariadb(u32),
    /// MariaDB's client, with its output converted by DuckDB.
    MariadbDuckdb,
    /// A lower bound: the work of MariaDB alone, with a client that discards all rows.
    MariadbClient,
    /// An exporter of another project.
    Peer(Peer, Database),
}

/// The suffix of a contender's name if the baseline build runs it.
pub const BASELINE: &str = "@baseline";

/// The build of Turntable that runs as a contender.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// This program.
    Current,
    /// The program that `--baseline` names.
    Baseline,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Ours,
    DuckDb,
    DataFusion,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Json,
    Parquet,
}

/// Where a contender writes its files, if it writes any.
pub enum Left {
    Nothing,
    Disk(PathBuf),
    /// The location, as a URI.
    S3(String),
}

impl Build {
    /// Returns the name of a contender that runs with this build.
    pub fn name(self, contender: Contender) -> String {
        match self {
            Build::Current => contender.name(),
            Build::Baseline => contender.name() + BASELINE,
        }
    }
}

impl Contender {
    pub fn name(self) -> String {
        match self {
            Contender::PySpark(partitions) => format!("pyspark_{partitions}"),
            Contender::AwsWrangler => "awswrangler".into(),
            Contender::Adbc => "adbc".into(),
            Contender::PsqlDuckdb => "psql_duckdb".into(),
            Contender::Ours(connections) => format!("ours_{connections}"),
            Contender::OursS3(connections) => format!("ours_{connections}_s3"),
            Contender::Level(level) => format!("level_{level}"),
            Contender::PsqlCopy => "psql_copy".into(),
            Contender::EncodeOnly => "encode_only".into(),
            Contender::Files(engine, format) => format!("{}_{}", format.name(), engine.name()),
            Contender::OursMariadb(1) => "mariadb_ours".into(),
            Contender::OursMariadb(connections) => format!("mariadb_ours_{connections}"),
            Contender::MariadbDuckdb => "mariadb_duckdb".into(),
            Contender::MariadbClient => "mariadb_client".into(),
            Contender::Peer(peer, database) => peer.name(database),
        }
    }

    /// Returns the builds that can run this contender: other tools have only one.
    pub fn builds(self, place: &Place) -> &'static [Build] {
        let is_ours = matches!(
            self,
            Contender::Ours(_)
                | Contender::OursS3(_)
                | Contender::EncodeOnly
                | Contender::Files(Engine::Ours, _)
                | Contender::OursMariadb(_)
        );
        if is_ours && place.baseline.is_some() { &[Build::Baseline, Build::Current] } else { &[Build::Current] }
    }

    /// Returns the command, and where it writes its files. Empties the folder for files on disk. `rows` is the number
    /// of rows in `table`.
    pub fn command(self, place: &Place, build: Build, table: &str, rows: u64) -> Result<(Command, Left)> {
        let out = place.work.join("out");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out)?;
        let folder = |out: &Path| out.to_string_lossy().into_owned();
        let (mut command, left) = match self {
            Contender::PySpark(partitions) => {
                let driver = place
                    .tools
                    .driver
                    .as_ref()
                    .context("PySpark needs the JDBC driver: apt-get install libpostgresql-jdbc-java")?;
                let numbers = [rows.to_string(), partitions.to_string()];
                let mut command = python(place, "pyspark_jdbc.py", &[table, &folder(&out), &numbers[0], &numbers[1]]);
                command.arg(driver);
                (command, Left::Disk(out))
            }
            Contender::AwsWrangler => {
                let prefix = format!("s3://{BUCKET}/out/");
                (python(place, "aws_wrangler.py", &[table, &prefix]), Left::S3(prefix))
            }
            Contender::Adbc => (python(place, "adbc.py", &[table, &folder(&out)]), Left::Disk(out)),
            Contender::PsqlDuckdb => {
                let mut shell = Command::new("bash");
                shell.args(["-o", "pipefail", "-c"]);
                shell.arg(r#"psql -qc "COPY $1 TO STDOUT (FORMAT csv, HEADER)" | "$2" "$3" "$4""#);
                shell.args(["-", table]).arg(&place.tools.python).arg(script("psql_duckdb.py")).arg(&out);
                (shell, Left::Disk(out))
            }
            Contender::Ours(connections) => {
                (ours(place, build, &postgres(place, table, connections), Some(&place.work))?, Left::Disk(out.clone()))
            }
            Contender::OursS3(connections) => {
                let left = Left::S3(format!("s3://{BUCKET}/out/"));
                (ours(place, build, &postgres(place, table, connections), None)?, left)
            }
            Contender::Level(level) => {
                let mut command = ours(place, build, &postgres(place, table, 1), Some(&place.work))?;
                command.args(["--level", &level.to_string()]);
                (command, Left::Disk(out))
            }
            Contender::PsqlCopy => {
                let mut psql = Command::new("psql");
                psql.args(["-qc", &format!("COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)")]);
                (psql, Left::Nothing)
            }
            Contender::EncodeOnly => {
                let mut command = ours(place, build, &postgres(place, table, 1), Some(&place.work))?;
                command.arg("--encode-only").stdout(File::create(place.work.join("phase"))?);
                return Ok((command, Left::Disk(out)));
            }
            Contender::Files(Engine::Ours, format) => {
                let source = format!("files = {{ location = \"s3://in/{}/\" }}", format.name());
                (ours(place, build, &source, Some(&place.work))?, Left::Disk(out))
            }
            Contender::Files(engine, format) => {
                let from = format.file(place).to_string_lossy().into_owned();
                let arguments = [engine.name(), format.name(), &from, &folder(&out)];
                (python(place, "files.py", &arguments), Left::Disk(out))
            }
            Contender::OursMariadb(connections) => {
                let url = place.mariadb()?.url();
                let several = match connections {
                    1 => String::new(),
                    _ => format!(", parallel = {connections}, snapshot = \"lock\""),
                };
                let source = format!(
                    "mysql = {{ url = \"{url}?ssl-mode=DISABLED\", query = \"SELECT * FROM {table}\"{several} }}"
                );
                (ours(place, build, &source, Some(&place.work))?, Left::Disk(out))
            }
            Contender::MariadbDuckdb => {
                let client = mariadb_client(place, &table::for_client(table))?;
                let mut shell = Command::new("bash");
                shell.args(["-o", "pipefail", "-c"]);
                shell.arg(r#"python=$1 script=$2 out=$3; shift 3; "$@" | "$python" "$script" "$out""#);
                shell.arg("-").arg(&place.tools.python).arg(script("mariadb_duckdb.py")).arg(&out);
                shell.arg(client.get_program()).args(client.get_args());
                shell.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
                (shell, Left::Disk(out))
            }
            Contender::MariadbClient => (mariadb_client(place, &table::for_client(table))?, Left::Nothing),
            Contender::Peer(peer, database) => (peer.command(place, database, table, &out)?, Left::Disk(out)),
        };
        connected(&mut command, place);
        command.stdout(Stdio::null());
        Ok((command, left))
    }
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Engine::Ours => "ours",
            Engine::DuckDb => "duckdb",
            Engine::DataFusion => "datafusion",
        }
    }
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Parquet => "parquet",
        }
    }

    /// Returns the path of the input file in this format.
    pub fn file(self, place: &Place) -> PathBuf {
        place.work.join("in").join(self.name()).join(format!("users.{}", self.name()))
    }
}

fn python(place: &Place, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(&place.tools.python);
    command.arg(script(name)).args(arguments);
    command
}

fn postgres(place: &Place, table: &str, connections: u32) -> String {
    let url = place.server.url();
    format!(
        "postgres = {{ url = \"{url}?sslmode=disable\", query = \"SELECT * FROM {table}\", parallel = {connections} }}"
    )
}

/// Returns the command that runs a query with MariaDB's client.
fn mariadb_client(place: &Place, query: &str) -> Result<Command> {
    let mut client = place.mariadb()?.client();
    client.args(["--quick", "-e", query]);
    Ok(client)
}

/// Returns the command that runs a build of this program as the contender `ours`. The program writes to the folder
/// `out` in `disk`, or to S3 if `disk` is `None`.
fn ours(place: &Place, build: Build, source: &str, disk: Option<&Path>) -> Result<Command> {
    let mut command = match (build, &place.baseline) {
        (Build::Baseline, Some(program)) => Command::new(program),
        _ => Command::new(env::current_exe()?),
    };
    command.args(["ours", "--source", source]);
    match disk {
        Some(folder) => {
            // On disk, the bucket `out` is the folder `out`.
            command.args(["--to", "s3://out/"]).arg("--disk").arg(folder);
        }
        None => {
            command.args(["--to", &format!("s3://{BUCKET}/out/")]);
        }
    }
    // The same value as in template.yaml.
    command.env("MALLOC_ARENA_MAX", "2").envs(place.store.environment());
    Ok(command)
}

//! The sources that a dataset can have, with their options.

use std::{collections::BTreeMap, fmt};

use jiff::SignedDuration;

use super::csv::Csv;
use crate::{
    consent::{accepts::Accepts, key::Key, normalize::Normalization},
    layout::Location,
    schema::Column,
};

/// Where a dataset's rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Postgres(Postgres),
    Mysql(Mysql),
    Files(Files),
    Inbox(Inbox),
    Athena(Athena),
    GlueJob(GlueJob),
}

impl Source {
    /// Returns whether an engine (Athena or a Glue job) writes the files, instead of Turntable.
    pub fn is_engine(&self) -> bool {
        matches!(self, Source::Athena(_) | Source::GlueJob(_))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Postgres {
    pub connect: Connect,
    pub query: String,
    /// The number of connections that read at the same time, each reading one part of the rows. At least 1.
    pub parallel: u32,
    /// The column in the query result whose values are divided into ranges, one for each part. `None` if it isn't set.
    pub split_by: Option<String>,
    pub session: Session,
}

/// How several connections to MySQL or MariaDB start their snapshots at the same moment. Each needs its own, because
/// connections can't share a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SharedSnapshot {
    /// The snapshots' positions in the binary log are compared. MariaDB only.
    #[default]
    Binlog,
    /// A lock stops writes to the table until all snapshots have started.
    Lock,
    /// They don't start at the same moment, so the parts may be from different moments.
    None,
}

/// MySQL or MariaDB.
#[derive(Debug, Clone, PartialEq)]
pub struct Mysql {
    pub connect: Connect,
    pub query: String,
    /// The number of connections that read at the same time, each reading parts of the rows. At least 1.
    pub parallel: u32,
    /// The integer column in the table whose values are divided into the parts' ranges. `None` means the first column
    /// of the primary key.
    pub split_by: Option<String>,
    /// How several connections get snapshots from the same moment.
    pub snapshot: SharedSnapshot,
    /// The session's `sql_mode`. `None` means the default modes of MySQL and MariaDB.
    pub sql_mode: Option<String>,
    /// The codes of warnings that don't fail the export.
    pub allow_warnings: Vec<u16>,
    pub session: Session,
}

/// How to log in to a database, and the timeouts of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Session {
    pub auth: Auth,
    /// The time limit for connecting to each host. `None` uses the value in the PostgreSQL URL, if it has one, and
    /// otherwise 10 s.
    pub connect_timeout: Option<SignedDuration>,
    /// The time limit for each statement, including reading all its rows. `None` means no limit on PostgreSQL, even
    /// if the role or the database sets one, and the server's own limit on MySQL.
    pub statement_timeout: Option<SignedDuration>,
    /// How long a connection may be idle before TCP sends a keepalive probe. `None` uses the value in the PostgreSQL
    /// URL, if it has one, and otherwise 1 min.
    pub keepalive: Option<SignedDuration>,
    /// How long a statement waits for a lock on a table. `None` means 30 s.
    pub lock_timeout: Option<SignedDuration>,
    /// Whether PostgreSQL may leave out the rows that row-level security policies hide. If not, a query that would lose
    /// rows to a policy is an error.
    pub row_security: bool,
}

/// The default for `lock_timeout`: longer than most changes to a table take, and much shorter than the time limit for a
/// run.
pub const DEFAULT_LOCK_TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

impl Session {
    /// Returns how long a statement waits for a lock on a table.
    pub fn lock_timeout(&self) -> SignedDuration {
        self.lock_timeout.unwrap_or(DEFAULT_LOCK_TIMEOUT)
    }
}

/// How to authenticate to a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    /// The password in the URL or the secret.
    #[default]
    Password,
    /// An IAM token for RDS or Aurora.
    Iam,
}

/// How to reach a database.
#[derive(Clone, PartialEq)]
pub enum Connect {
    /// A Secrets Manager secret.
    Secret(Secret),
    /// A URL, for local runs: `postgres://user:password@host:port/database?sslmode=…`, `mysql://…`.
    Url(String),
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Connect::Secret(secret) => write!(f, "{secret:?}"),
            Connect::Url(_) => f.write_str("Url(…)"),
        }
    }
}

/// A Secrets Manager secret that contains the JSON that RDS writes, or a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name or ARN.
    pub name: String,
    /// The keys that the dataset adds to the secret's JSON, such as `host`, because a secret that RDS manages has only
    /// `username` and `password`.
    pub beside: Vec<(&'static str, String)>,
}

impl From<&str> for Secret {
    fn from(name: &str) -> Secret {
        Secret { name: name.into(), beside: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    pub bucket: String,
    /// The key of one object, or a prefix.
    pub key: String,
    /// The format of all objects. `None` means that it is detected from each object's name.
    pub format: Option<Format>,
    /// The declared columns, in order. `None` means that they are read from Parquet files, and inferred from CSV and
    /// NDJSON.
    pub columns: Option<Vec<Column>>,
    /// The format of CSV files. `None` means RFC 4180 with a header, in UTF-8.
    pub csv: Option<Csv>,
    /// The inferred type of objects within JSON records, and of structs in Parquet files.
    pub objects: Nested,
    /// Whether a declared column that an object lacks is null in that object's rows. Otherwise it is an error. NDJSON
    /// records may always lack columns.
    pub missing_is_null: bool,
    /// Whether columns that are not declared are left out. Otherwise they are an error.
    pub ignore_extra: bool,
}

impl Files {
    /// Returns the location that the files are read from, for use in messages.
    pub fn location(&self) -> String {
        Location { bucket: self.bucket.clone(), prefix: self.key.clone() }.to_string()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Ndjson,
    Parquet,
}

/// The inferred type of an object within a JSON record, or of a struct in a Parquet file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nested {
    /// A struct, with a field for each name.
    #[default]
    Struct,
    /// A map from names to values of one type.
    Map,
    /// A string with the object's JSON text.
    Json,
}

/// A query whose result Athena writes with `UNLOAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Athena {
    /// The query, without a trailing semicolon.
    pub query: String,
    pub workgroup: String,
    /// The partition columns, in lower case. Each becomes one level of folders, the first column the outermost.
    pub partition_by: Vec<String>,
}

/// A Glue job that the user provides. It writes Parquet files to the location in its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlueJob {
    pub name: String,
    /// The job arguments, as Glue expects them: each name starts with `--`.
    pub arguments: BTreeMap<String, String>,
    /// The time after which Glue stops the run, in minutes.
    pub timeout: u32,
}

/// How much one refresh reads from an inbox. The rest is left for the next refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub drops: usize,
    /// The total size of drops, in bytes, at which a refresh stops reading.
    pub bytes: u64,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota { drops: 50_000, bytes: 2 << 30 }
    }
}

/// An inbox that applications put opt-outs into, and how to publish them.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbox {
    pub location: Location,
    /// The names of the key columns, in order and in lower case.
    pub key: Vec<String>,
    /// The types of the key columns. `None` means that they are taken from the live table.
    pub types: Option<Key>,
    /// How the key's strings are normalized before they are compared.
    pub normalize: Normalization,
    /// The number of buckets, a power of two up to 1024. `None` means that it depends on the number of rows.
    pub buckets: Option<u32>,
    /// The shortest time between two refreshes. A refresh that comes sooner changes nothing and leaves its drops to the
    /// next event or the schedule.
    pub min_interval: SignedDuration,
    /// The states that drops may have.
    pub accepts: Accepts,
    /// The largest number of people whom one refresh may opt back in. `None` means any number.
    pub max_returning: Option<u64>,
    pub quota: Quota,
    /// An optional source of consent records with the same columns as a drop. A request with the action `reconcile`
    /// merges all its records.
    pub reconcile: Option<Box<Source>>,
}

//! The sources of a dataset, with their options.

use std::{collections::BTreeMap, fmt};

use jiff::SignedDuration;

use super::csv::Csv;
use crate::{consent::key::Key, layout::Location, schema::Column};

/// Where the rows of a dataset come from.
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
    /// Returns whether an engine that AWS runs, Athena or a Glue job, writes the files itself.
    pub fn is_engine(&self) -> bool {
        matches!(self, Source::Athena(_) | Source::GlueJob(_))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Postgres {
    pub connect: Connect,
    pub query: String,
    /// The number of connections that read at the same time, each a part of the rows. At least 1.
    pub parallel: u32,
    /// The column of the query whose value ranges are the parts.
    pub split_by: Option<String>,
    pub session: Session,
}

/// MySQL or MariaDB.
#[derive(Debug, Clone, PartialEq)]
pub struct Mysql {
    pub connect: Connect,
    pub query: String,
    /// Accepted but ignored: without a shared snapshot, a query can't be split.
    pub split_by: Option<String>,
    pub session: Session,
}

/// How to log in to a database, and its timeouts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Session {
    pub auth: Auth,
    /// The time limit for connecting to each host. `None` takes that of a PostgreSQL URL, or else 10 s.
    pub connect_timeout: Option<SignedDuration>,
    /// The time limit for each statement, including the reading of all rows. `None` means no limit on PostgreSQL, even
    /// if the role or the database sets one, and the server's own limit on MySQL.
    pub statement_timeout: Option<SignedDuration>,
    /// How long a connection is idle before TCP sends a keepalive probe. `None` takes that of a PostgreSQL URL, or else
    /// 1 min.
    pub keepalive: Option<SignedDuration>,
}

/// How to authenticate to a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    /// The password of the URL or the secret.
    #[default]
    Password,
    /// An IAM token for RDS or Aurora.
    Iam,
}

/// How to reach a database.
#[derive(Clone, PartialEq)]
pub enum Connect {
    /// The name or ARN of a Secrets Manager secret: the JSON that RDS writes, or a URL.
    Secret(String),
    /// A URL, for local runs: `postgres://user:password@host:port/database?sslmode=…`, `mysql://…`.
    Url(String),
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Connect::Secret(name) => write!(f, "Secret({name:?})"),
            Connect::Url(_) => f.write_str("Url(…)"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    pub bucket: String,
    /// The key of one object, or a prefix.
    pub key: String,
    /// The format of all objects. `None` detects it from each object's name.
    pub format: Option<Format>,
    /// The declared columns, in order. `None` takes them from Parquet files, and infers them from CSV and NDJSON.
    pub columns: Option<Vec<Column>>,
    /// How CSV is written. `None` means RFC 4180 with a header, in UTF-8.
    pub csv: Option<Csv>,
}

impl Files {
    /// Returns the location that the files are read from, for messages.
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

/// A query whose result Athena writes with `UNLOAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Athena {
    /// Without a semicolon at the end.
    pub query: String,
    pub workgroup: String,
    /// The partition columns, which become folders: outermost first, lower case.
    pub partition_by: Vec<String>,
}

/// The user's own Glue job. It writes Parquet to the location that it gets as an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlueJob {
    pub name: String,
    /// As Glue expects them: each name begins with `--`.
    pub arguments: BTreeMap<String, String>,
    /// The time after which Glue ends the run, in minutes.
    pub timeout: u32,
}

/// Where applications put opt-outs, and how they are published.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbox {
    pub location: Location,
    /// The columns of the key, lower case, in order.
    pub key: Vec<String>,
    /// The types of the key's columns. `None` takes them from the live table.
    pub types: Option<Key>,
    /// The number of buckets. `None` derives it from the number of rows.
    pub buckets: Option<u32>,
    /// The shortest time between two refreshes. A refresh that comes sooner waits for the next event or the schedule.
    pub min_interval: SignedDuration,
    /// Another table with the same columns, for an explicit reconcile.
    pub reconcile: Option<Box<Source>>,
}

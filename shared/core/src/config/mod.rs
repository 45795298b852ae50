//! Parses and checks `datasets.toml`. All errors are reported together, each with its line, column and key path.

mod check;
mod checks;
mod database;
mod engines;
mod files;
mod group;
mod inbox;
mod names;
mod position;
mod read;
mod settings;
mod spec;
#[cfg(test)]
mod test_support;

use std::collections::BTreeMap;

pub use checks::{Bound, Checks, Range};
pub use engines::{Athena, GlueJob};
pub use files::{Csv, Dialect, Encoding};
pub use group::Group;
use jiff::SignedDuration;
pub use names::LAPTOP_ONLY;
pub use position::{Position, Positions};
use read::At;

use crate::{
    consent::key::Key,
    error::{Error, Result},
    layout::{self, Location, TableName, TablePaths},
    schema::{Column, Policy},
};

/// A checked `datasets.toml`.
#[derive(Debug, Clone)]
pub struct Config {
    datasets: BTreeMap<String, Dataset>,
}

/// One published table and how to build it.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub name: String,
    pub table: TableName,
    pub paths: TablePaths,
    /// The group of the dataset, if any. All members are exported and flipped together.
    pub group: Option<layout::Group>,
    pub source: Source,
    pub checks: Checks,
    /// Which changes to the table's columns a flip may make.
    pub schema: Policy,
    /// Whether `flip` may create a missing Glue table.
    pub create: bool,
    pub parquet: Parquet,
    /// The partition columns, which become folders: outermost first, lower case.
    pub partition_by: Vec<String>,
    pub on_unrepresentable: OnUnrepresentable,
    /// The datasets that get a view without the people who opted out. Only an inbox dataset has any.
    pub protects: Vec<Protect>,
    pub retain: Retain,
    /// How to handle drift of the table.
    pub on_drift: OnDrift,
    /// The Athena workgroups that readers use. Sweep checks them for running queries.
    pub workgroups: Vec<String>,
    /// The SHA-256 of the settings that decide the content, defaults included. A manifest records it.
    pub spec: String,
}

/// How to handle drift: somebody outside Turntable has moved the table since its last flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrift {
    /// Reports the drift in the log, in a metric and in `status`.
    #[default]
    Report,
    /// Also flips back. An inbox dataset is always repaired, because a published opt-out must stay published.
    Repair,
}

impl OnDrift {
    fn parse(text: &str) -> std::result::Result<OnDrift, String> {
        match text {
            "report" => Ok(OnDrift::Report),
            "repair" => Ok(OnDrift::Repair),
            _ => Err(format!("expected \"report\" or \"repair\", found {text:?}")),
        }
    }
}

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

/// A dataset whose view hides the people who opted out, and its columns that hold the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protect {
    pub dataset: String,
    pub table: TableName,
    pub columns: Vec<String>,
}

impl Dataset {
    pub fn is_inbox(&self) -> bool {
        matches!(self.source, Source::Inbox(_))
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

/// MySQL or MariaDB.
#[derive(Debug, Clone, PartialEq)]
pub struct Mysql {
    pub connect: Connect,
    pub query: String,
    /// Accepted but ignored: without a shared snapshot, a query can't be split.
    pub split_by: Option<String>,
    pub session: Session,
}

/// How to reach a database.
#[derive(Clone, PartialEq)]
pub enum Connect {
    /// The name or ARN of a Secrets Manager secret: the JSON that RDS writes, or a URL.
    Secret(String),
    /// A URL, for local runs: `postgres://user:password@host:port/database?sslmode=…`, `mysql://…`.
    Url(String),
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Ndjson,
    Parquet,
}

/// How to handle source values that Arrow or Athena can't represent, such as the date `infinity`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnrepresentable {
    /// Fails the run.
    #[default]
    Error,
    /// Writes NULL and counts it.
    Null,
}

impl OnUnrepresentable {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self::Error),
            "null" => Ok(Self::Null),
            _ => Err(format!("expected \"error\" or \"null\", found {text:?}")),
        }
    }
}

/// The target sizes of row groups and files, in bytes. They are approximate: measured before the final encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parquet {
    pub row_group_size: u64,
    pub file_size: u64,
}

impl Default for Parquet {
    fn default() -> Self {
        Self { row_group_size: 64 << 20, file_size: 256 << 20 }
    }
}

/// Which generations sweep keeps, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retain {
    /// How many formerly live generations are kept for a rollback: those replaced last. Live isn't counted.
    pub generations: u64,
    /// How long a generation is kept after its replacement, for its remaining readers. It must exceed the longest
    /// query: Athena ends a query after 30 minutes, or after up to 240 if the account's quota was raised.
    pub drain: SignedDuration,
    /// How long a candidate is kept after its manifest was written, and data without a manifest after its run began. It
    /// must exceed the longest run.
    pub abandoned: SignedDuration,
    /// The longest time that a generation is kept for a rollback, counted from its replacement. It bounds how long the
    /// data of people who have left stays.
    pub max_age: SignedDuration,
}

impl Default for Retain {
    fn default() -> Self {
        Self {
            generations: 2,
            drain: SignedDuration::from_hours(1),
            abandoned: SignedDuration::from_hours(24),
            max_age: SignedDuration::from_hours(30 * 24),
        }
    }
}

impl Config {
    /// Parses and checks `text`, the content of the file called `file`. The error has one line for each problem:
    /// `file:line:column: path: message`.
    pub fn parse(file: &str, text: &str) -> Result<Config> {
        Config::parse_expanded(file, text, text)
    }

    /// Parses a text like [`Config::parse`], after each `${NAME}` in it was replaced. Errors give positions in
    /// `written`, the text before that.
    pub fn parse_expanded(file: &str, text: &str, written: &str) -> Result<Config> {
        let (datasets, faults) = check::check(text);
        if faults.is_empty() {
            return Ok(Config { datasets });
        }
        let keys = Positions::of(written);
        let lines = faults.iter().map(|fault| {
            let position = match &fault.at {
                At::Key(path) => keys.find(path),
                At::Byte(byte) => Position::of(text, *byte),
            };
            format!("{file}:{position}: {}", fault.message)
        });
        Err(Error::config(lines.collect::<Vec<_>>().join("\n")))
    }

    pub fn datasets(&self) -> impl Iterator<Item = &Dataset> {
        self.datasets.values()
    }

    pub fn dataset(&self, name: &str) -> Result<&Dataset> {
        self.datasets.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.datasets.keys().map(String::as_str).collect();
            Error::input(format!("no dataset {name:?} is configured, expected one of {}", known.join(", ")))
        })
    }

    /// Returns the group that a dataset belongs to, if any.
    pub fn group_of<'a>(&'a self, dataset: &'a Dataset) -> Option<Group<'a>> {
        let name = dataset.group.as_ref()?;
        let members = self.datasets.values().filter(|other| other.group.as_ref() == Some(name)).collect();
        Some(Group { name, members })
    }

    /// Returns the dataset that publishes to this Glue table, if any.
    pub fn dataset_of(&self, table: &TableName) -> Option<&Dataset> {
        self.datasets.values().find(|dataset| dataset.table == *table)
    }

    /// Returns the dataset whose table's folder is `paths`.
    pub fn dataset_at(&self, paths: &TablePaths) -> Result<&Dataset> {
        self.datasets
            .values()
            .find(|dataset| dataset.paths == *paths)
            .ok_or_else(|| Error::input(format!("no dataset is configured to publish to {}", paths.location())))
    }
}

/// The location of `datasets.toml`, as given by the environment variable `DATASETS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    S3(crate::layout::Key),
    Disk(std::path::PathBuf),
}

impl Place {
    pub fn parse(text: &str) -> Result<Place> {
        if text.starts_with("s3://") { Ok(Place::S3(text.parse()?)) } else { Ok(Place::Disk(text.into())) }
    }
}

impl Files {
    /// Returns the location that the files are read from, for messages.
    pub fn location(&self) -> String {
        Location { bucket: self.bucket.clone(), prefix: self.key.clone() }.to_string()
    }
}

/// Removes the positions from an error of [`Config::parse`]: each line becomes `file: path: message`.
#[cfg(test)]
fn without_positions(message: &str) -> String {
    let line = |line: &str| {
        let mut parts = line.splitn(4, ':');
        let (file, rest) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
        format!("{file}:{rest}")
    };
    message.lines().map(line).collect::<Vec<_>>().join("\n")
}

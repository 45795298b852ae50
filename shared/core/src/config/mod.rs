//! `datasets.toml`: raw → checked, all faults at once, each with its line, column and path.

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
mod told;

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
    layout::{self, Home, Location, TableName},
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
    pub home: Home,
    /// What the dataset belongs to: all members are exported and flipped together.
    pub group: Option<layout::Group>,
    pub source: Source,
    pub checks: Checks,
    /// What a flip may change of the table's columns.
    pub schema: Policy,
    /// Whether `flip` may create the Glue table where there is none.
    pub create: bool,
    pub parquet: Parquet,
    /// The columns that become folders, outermost first, lower case.
    pub partition_by: Vec<String>,
    pub on_unrepresentable: OnUnrepresentable,
    /// What extractions are kept from those who are out. Of an inbox dataset only.
    pub protects: Vec<Protect>,
    pub retain: Retain,
    /// What is done where somebody else has moved the table.
    pub on_unflip: OnUnflip,
    /// The Athena workgroups that readers query from: sweep asks them for running queries.
    pub workgroups: Vec<String>,
    /// SHA-256 of the entry, defaults included: a manifest says what it was built from.
    pub spec: String,
}

/// What is done where somebody else has moved a table since its last flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnflip {
    /// A line in the log, a metric, and a word in `status`.
    #[default]
    Report,
    /// And a flip back. Always so of an inbox: a published opt-out stays published.
    Repair,
}

impl OnUnflip {
    fn parse(text: &str) -> std::result::Result<OnUnflip, String> {
        match text {
            "report" => Ok(OnUnflip::Report),
            "repair" => Ok(OnUnflip::Repair),
            _ => Err(format!("{text:?} is neither \"report\" nor \"repair\"")),
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
    /// Whether rows come from elsewhere: an engine that AWS runs writes the files itself.
    pub fn is_engine(&self) -> bool {
        matches!(self, Source::Athena(_) | Source::GlueJob(_))
    }
}

/// Where applications put opt-outs, and what is published of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbox {
    pub location: Location,
    /// The key's columns, lower case, in order.
    pub key: Vec<String>,
    /// Their types; `None`: as the live table has them.
    pub types: Option<Key>,
    /// `None`: by the number of rows.
    pub buckets: Option<u32>,
    /// A refresh that comes sooner after the last waits for the next nudge or the schedule.
    pub min_interval: SignedDuration,
    /// Another table of the same columns, for an explicit reconcile.
    pub reconcile: Option<Box<Source>>,
}

/// A dataset whose readers must not see those who are out, and its column that holds the key.
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
    /// Connections that read at the same time, each a part of the rows; at least 1.
    pub parallel: u32,
    /// The column of the query whose ranges are the parts.
    pub split_by: Option<String>,
    pub session: Session,
}

/// How a database is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Session {
    pub auth: Auth,
    /// For each host. `None`: as the URL has it, or 10 s.
    pub connect_timeout: Option<SignedDuration>,
    /// For each statement, the copy of all rows too. `None`: none, also where the role or the database has one.
    pub statement_timeout: Option<SignedDuration>,
    /// How long a connection is quiet before the server is asked whether it is still there. `None`: 1 min.
    pub keepalive: Option<SignedDuration>,
}

/// What a database takes as the proof of who we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    /// That of the URL or the secret.
    #[default]
    Password,
    /// A token of RDS or Aurora.
    Iam,
}

/// MySQL or MariaDB.
#[derive(Debug, Clone, PartialEq)]
pub struct Mysql {
    pub connect: Connect,
    pub query: String,
    /// A column of the query, which `parallel` would split it by, were there a snapshot for that.
    pub split_by: Option<String>,
    pub session: Session,
}

/// How to reach a database.
#[derive(Clone, PartialEq)]
pub enum Connect {
    /// The name or ARN of a Secrets Manager secret: the JSON that RDS writes, or a URL.
    Secret(String),
    /// For a laptop: `postgres://user:password@host:port/database?sslmode=…`, `mysql://…`.
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
    /// One object's key, or a prefix.
    pub key: String,
    /// `None`: told by each object's name.
    pub format: Option<Format>,
    /// The declared columns, in order. `None`: Parquet says, and CSV and NDJSON are inferred from.
    pub columns: Option<Vec<Column>>,
    /// `None`: as RFC 4180 has it, with a header, in UTF-8.
    pub csv: Option<Csv>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Ndjson,
    Parquet,
}

/// What becomes of a source's value that Arrow or Athena has no place for, such as a date of `infinity`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnrepresentable {
    /// The run fails.
    #[default]
    Error,
    /// NULL, and it is counted.
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

/// How large what is written may be. Bytes, before the last encoding and thus about.
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

/// What sweep keeps, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retain {
    /// How many generations that have been live are kept besides live, for a rollback: those replaced last.
    pub generations: u64,
    /// How long a generation is kept after its replacement, for whoever still reads it. It must exceed the longest
    /// query: Athena ends one after 30 minutes, or after up to 240 where the account's quota was raised.
    pub drain: SignedDuration,
    /// How long a candidate is kept after its manifest, and data without a manifest after its run began. It must
    /// exceed the longest run.
    pub abandoned: SignedDuration,
    /// How long after its replacement a generation may be kept at all: who has left must be gone by then.
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
    /// Parses and checks the text of the file that is called `file`. The error has a line for each fault:
    /// `file:line:column: path: what is wrong`.
    pub fn parse(file: &str, text: &str) -> Result<Config> {
        Config::parse_expanded(file, text, text)
    }

    /// As [`Config::parse`], of a text in which names were replaced: keys stand where they do in the one that was `written`.
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

    /// The group that a dataset belongs to, if it does.
    pub fn group_of<'a>(&'a self, dataset: &'a Dataset) -> Option<Group<'a>> {
        let name = dataset.group.as_ref()?;
        let members = self.datasets.values().filter(|other| other.group.as_ref() == Some(name)).collect();
        Some(Group { name, members })
    }

    /// The dataset that publishes to this Glue table, if one does.
    pub fn dataset_of(&self, table: &TableName) -> Option<&Dataset> {
        self.datasets.values().find(|dataset| dataset.table == *table)
    }

    /// The dataset whose table lives there.
    pub fn dataset_at(&self, home: &Home) -> Result<&Dataset> {
        self.datasets
            .values()
            .find(|dataset| dataset.home == *home)
            .ok_or_else(|| Error::input(format!("no dataset is configured to publish to {}", home.location())))
    }
}

/// The file's location, as the environment variable `DATASETS` gives it.
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

/// Where [`Files`] reads, for messages.
impl Files {
    pub fn location(&self) -> String {
        Location { bucket: self.bucket.clone(), prefix: self.key.clone() }.to_string()
    }
}

/// The lines of an error of [`Config::parse`] as `file: path: what is wrong`.
#[cfg(test)]
fn without_positions(message: &str) -> String {
    let line = |line: &str| {
        let mut parts = line.splitn(4, ':');
        let (file, rest) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
        format!("{file}:{rest}")
    };
    message.lines().map(line).collect::<Vec<_>>().join("\n")
}

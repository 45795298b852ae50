//! One dataset, and the types of its settings.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    adopt::Adopt,
    checks::Checks,
    refresh::Refresh,
    source::{Files, Nested, Source},
};
use crate::{
    consent::normalize::Normalization,
    layout::{Group, Location, TableName, TablePaths},
    schema::Policy,
};

/// One published table and how to build it.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub name: String,
    pub table: TableName,
    pub paths: TablePaths,
    /// The dataset's group, if any. All members are exported and flipped together.
    pub group: Option<Group>,
    pub source: Source,
    pub checks: Checks,
    /// Which changes to the table's columns a flip may make.
    pub schema: Policy,
    /// Whether `flip` may create a missing Glue table.
    pub create: bool,
    /// Whether an event may take over a table that Turntable doesn't publish yet.
    pub adopt: Adopt,
    pub parquet: Parquet,
    /// The partition columns, in lower case. Each becomes one level of folders, the first column the outermost.
    pub partition_by: Vec<String>,
    pub on_unrepresentable: OnUnrepresentable,
    /// The tables that this inbox protects. Empty unless the source is an inbox.
    pub protects: Vec<Protected>,
    /// This dataset's table as a protected table. `None` if no inbox protects it.
    pub protected: Option<Protected>,
    /// The protected table that this dataset copies without the people who opted out. `None` for every entry in the
    /// file: only `as = "table"` in `protects` adds such a dataset.
    pub filters: Option<Protected>,
    pub retain: Retain,
    /// What to do when the table has drifted.
    pub on_drift: OnDrift,
    /// The Athena workgroups that readers use. Sweep checks them for running queries.
    pub workgroups: Vec<String>,
    /// When the dataset is refreshed. `None` means that the stack's schedule refreshes it. Always `None` for an inbox.
    pub refresh: Option<Refresh>,
    /// The SHA-256, in hex, of the settings that decide the dataset's content. Each manifest records it.
    pub spec: String,
}

impl Dataset {
    /// Returns a stand-in for a dataset that published a table but is no longer configured. Only sweep uses it. Its
    /// source has no files, and it keeps no generations for a rollback. Its `drain` and `abandoned` are the longest in
    /// `others`, and its workgroups are `primary` and all workgroups in `others`.
    pub fn retired<'a>(
        (name, table, paths): (&str, TableName, TablePaths),
        others: impl Iterator<Item = &'a Dataset>,
    ) -> Dataset {
        let mut retain = Retain { generations: 0, ..Retain::default() };
        let mut workgroups = BTreeSet::from(["primary".to_owned()]);
        for other in others {
            retain.drain = retain.drain.max(other.retain.drain);
            retain.abandoned = retain.abandoned.max(other.retain.abandoned);
            workgroups.extend(other.workgroups.iter().cloned());
        }
        Dataset {
            name: name.into(),
            source: Source::Files(Files {
                bucket: paths.location().bucket.clone(),
                key: String::new(),
                format: None,
                columns: None,
                csv: None,
                objects: Nested::default(),
                missing_is_null: false,
                ignore_extra: false,
            }),
            table,
            paths,
            group: None,
            checks: Checks::default(),
            schema: Policy::default(),
            create: false,
            adopt: Adopt::No,
            parquet: Parquet::default(),
            partition_by: Vec::new(),
            on_unrepresentable: OnUnrepresentable::default(),
            protects: Vec::new(),
            protected: None,
            filters: None,
            retain,
            on_drift: OnDrift::Report,
            workgroups: workgroups.into_iter().collect(),
            refresh: None,
            spec: String::new(),
        }
    }

    pub fn is_inbox(&self) -> bool {
        matches!(self.source, Source::Inbox(_))
    }

    /// Returns whether files at this location may become live, or live again, without an operator's request even if
    /// Turntable didn't write them. This is so if they are in the table's own folder, or if `adopt` allows them.
    pub fn trusts(&self, location: &Location) -> bool {
        self.paths.location().contains(location) || self.adopt.allows(location)
    }

    /// Returns the table that the inbox is published to, or `None` if the source is not an inbox.
    pub fn optouts(&self) -> Option<OptoutTable> {
        let Source::Inbox(inbox) = &self.source else { return None };
        Some(OptoutTable {
            dataset: self.name.clone(),
            inbox: inbox.location.clone(),
            table: self.table.clone(),
            paths: self.paths.clone(),
            key: inbox.key.clone(),
            normalize: inbox.normalize.clone(),
        })
    }
}

/// A protected table: Turntable keeps a view of it without the people who opted out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    pub dataset: String,
    pub table: TableName,
    /// The inboxes that protect the table, ordered by name.
    pub by: Vec<ProtectedBy>,
}

/// An inbox that protects a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedBy {
    pub optouts: OptoutTable,
    /// The columns in the protected table that contain the key, in the key's order.
    pub columns: Vec<String>,
}

/// The table that an inbox is published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptoutTable {
    /// The name of the inbox's dataset.
    pub dataset: String,
    pub inbox: Location,
    pub table: TableName,
    pub paths: TablePaths,
    /// The names of the key columns, in order.
    pub key: Vec<String>,
    pub normalize: Normalization,
}

/// What to do about drift: somebody outside Turntable has moved the table since its last flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrift {
    /// Only report the drift: in the log, in a metric and in `status`.
    #[default]
    Report,
    /// Report the drift and flip back. An inbox dataset is always repaired, because a published opt-out must stay
    /// published.
    Repair,
}

impl OnDrift {
    pub(super) fn parse(text: &str) -> Result<OnDrift, String> {
        match text {
            "report" => Ok(OnDrift::Report),
            "repair" => Ok(OnDrift::Repair),
            _ => Err(format!("expected \"report\" or \"repair\", found {text:?}")),
        }
    }
}

/// How to handle values in the source that Arrow or Athena can't represent, such as the date `infinity`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnrepresentable {
    /// Fail the run.
    #[default]
    Error,
    /// Write NULL instead, and count it in the manifest.
    Null,
}

impl OnUnrepresentable {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self::Error),
            "null" => Ok(Self::Null),
            _ => Err(format!("expected \"error\" or \"null\", found {text:?}")),
        }
    }
}

/// The settings for Parquet files. The target sizes of row groups and files, in bytes, are approximate, because data is
/// measured before its final encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parquet {
    pub row_group_size: u64,
    pub file_size: u64,
    /// ZSTD's level.
    pub compression_level: i32,
}

impl Parquet {
    /// Levels above 19 need a gigabyte of memory to compress, and more than usual to read.
    pub const MAX_COMPRESSION_LEVEL: u64 = 19;
}

impl Default for Parquet {
    fn default() -> Self {
        Self { row_group_size: 64 << 20, file_size: 256 << 20, compression_level: 1 }
    }
}

/// Which generations sweep keeps, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retain {
    /// How many formerly live generations to keep for a rollback, starting with the last one replaced. The live
    /// generation isn't counted.
    pub generations: u64,
    /// How long to keep a generation after its replacement, for queries that still read it. It must be longer than any
    /// query. Athena ends a query after 30 minutes, or after up to 240 minutes if the account's quota was raised.
    pub drain: SignedDuration,
    /// How long to keep a candidate after its manifest was written, and data without a manifest after its run started.
    /// It must be longer than any run.
    pub abandoned: SignedDuration,
    /// The longest time to keep a generation for a rollback, counted from its replacement. It limits how long data
    /// about people who are no longer in the table stays in S3.
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

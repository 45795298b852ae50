//! Parses and checks `datasets.toml`. All errors are reported together, each with its line, column and key path.

mod adopt;
mod broken;
mod check;
mod checks;
mod csv;
mod database;
mod dataset;
mod datasets;
mod dependencies;
mod engines;
mod files;
mod filtered;
mod fresh;
mod group;
mod inbox;
mod inbox_rules;
mod names;
mod place;
mod position;
mod protects;
mod puts;
mod query;
mod read;
mod refresh;
mod settings;
mod source;
mod spec;
#[cfg(test)]
mod test_support;

pub use adopt::Adopt;
pub use broken::BrokenEntry;
pub use checks::{Bound, Checks, Range};
pub use csv::{Csv, Dialect, Encoding, Separators};
pub use dataset::{Dataset, OnDrift, OnUnrepresentable, OptoutTable, Parquet, Protected, ProtectedBy, Retain};
pub use datasets::Config;
pub use fresh::Fresh;
pub use group::Group;
pub use names::LAPTOP_ONLY;
pub use place::Place;
pub use position::{Position, Positions};
pub use query::reads_only;
pub use refresh::{After, Input, OnPut, Refresh};
pub use source::{
    Athena, Auth, Connect, Files, Format, GlueJob, Inbox, Mysql, Nested, Postgres, Quota, Secret, Session,
    SharedSnapshot, Source,
};

//! The input and the result of opening a source.

use std::sync::Arc;

use arrow_schema::Schema;
use jiff::Timestamp;
use turntable_core::{
    config::{OnUnrepresentable, Parquet},
    layout::{Entry, TableName},
    manifest::TypedBy,
    port::{Objects, Secrets, TokenSigner},
};
use turntable_parquet::Rows;

use crate::{unmatched::Unmatched, unrepresentable::Unrepresentable};

/// An opened source: all its rows as of one moment.
pub struct Opened {
    pub rows: Rows,
    /// The time of the snapshot that all rows come from.
    pub as_of: Timestamp,
    /// The origin of the column types.
    pub typed_by: TypedBy,
    /// Counts the values that became NULL. The counts are final once all streams have ended.
    pub unrepresentable: Arc<Unrepresentable>,
    /// Whether the database is on another machine and wasn't required to prove its identity.
    pub is_unverified: bool,
    /// The objects that the rows come from. Empty for a database.
    pub objects: Vec<Entry>,
}

/// The conditions that a Parquet object must meet to pass through unchanged.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    pub sizes: Parquet,
    /// The columns whose null count the audit needs.
    pub not_null: Vec<String>,
    /// The columns whose minimum and maximum the audit needs. For these, it must also know whether they contain NaN.
    pub range: Vec<String>,
}

/// The clients and settings that sources need.
#[derive(Clone)]
pub struct Context {
    pub objects: Arc<dyn Objects>,
    /// Reads the secret that a source's `secret` option names. If `None`, only sources with `url` can be opened.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Signs the tokens for sources with `auth = "iam"`.
    pub iam: Option<Arc<dyn TokenSigner>>,
    pub now: Timestamp,
    /// The table that the rows are for. Error messages name it.
    pub table: TableName,
    pub on_unrepresentable: OnUnrepresentable,
    /// Which Parquet objects may pass through unchanged. If `None`, none may, so the streams contain all rows.
    pub copies: Option<Copies>,
}

impl Context {
    /// Returns the policy for unrepresentable values, with a counter for each column in `schema`.
    pub fn unrepresentable(&self, schema: &Schema) -> Arc<Unrepresentable> {
        Arc::new(self.unrepresentable_in(schema, Unmatched::default()))
    }

    /// Does the same as [`Context::unrepresentable`] for files, whose columns may differ from those in `schema`.
    pub fn unrepresentable_in(&self, schema: &Schema, unmatched: Unmatched) -> Unrepresentable {
        let policy = Unrepresentable::new(self.table.to_string(), self.on_unrepresentable, schema);
        policy.with_unmatched(unmatched)
    }
}

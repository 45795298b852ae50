//! What it takes to open a source, and what opening it returns.

use std::sync::Arc;

use arrow_schema::Schema;
use jiff::Timestamp;
use turntable_core::{
    config::{OnUnrepresentable, Parquet},
    layout::TableName,
    manifest::TypedBy,
    port::{Objects, Secrets, TokenSigner},
};
use turntable_parquet::Rows;

use crate::unrepresentable::Unrepresentable;

/// An opened source: all its rows as of one moment.
pub struct Opened {
    pub rows: Rows,
    /// The time of the snapshot that all rows come from.
    pub as_of: Timestamp,
    /// The origin of the column types.
    pub typed_by: TypedBy,
    /// Counts the values that became NULL. The counts are final once all streams have ended.
    pub unrepresentable: Arc<Unrepresentable>,
}

/// The clients and settings that sources need.
#[derive(Clone)]
pub struct Context {
    pub objects: Arc<dyn Objects>,
    /// Reads `secret`. Without it, only `url` works.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Signs tokens for `auth = "iam"`.
    pub iam: Option<Arc<dyn TokenSigner>>,
    pub now: Timestamp,
    /// The table that the rows are for, in error messages.
    pub table: TableName,
    pub on_unrepresentable: OnUnrepresentable,
    /// The settings of the Parquet output. Objects that match them may pass through unchanged. With `None`, every row
    /// goes into a stream.
    pub copies: Option<Parquet>,
}

impl Context {
    /// Returns the counters and the policy for the columns of `schema`.
    pub fn unrepresentable(&self, schema: &Schema) -> Arc<Unrepresentable> {
        Arc::new(Unrepresentable::new(self.table.to_string(), self.on_unrepresentable, schema))
    }
}

//! What a source is opened with, and what it gives.

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

/// An opened source: all of its rows as of one moment.
pub struct Opened {
    pub rows: Rows,
    /// When the snapshot was taken that all rows are of.
    pub as_of: Timestamp,
    /// Where the column types come from.
    pub typed_by: TypedBy,
    /// Its counts are final when all streams have ended.
    pub unrepresentable: Arc<Unrepresentable>,
}

/// What sources need of the world.
#[derive(Clone)]
pub struct Context {
    pub objects: Arc<dyn Objects>,
    /// For `secret`; without it only `url` works.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// For `auth = "iam"`.
    pub iam: Option<Arc<dyn TokenSigner>>,
    pub now: Timestamp,
    /// The table that is built, for messages.
    pub table: TableName,
    pub on_unrepresentable: OnUnrepresentable,
    /// Of what is written, if objects may be copied that are like it. `None`: every row is to be in a stream.
    pub copies: Option<Parquet>,
}

impl Context {
    pub fn unrepresentable(&self, schema: &Schema) -> Arc<Unrepresentable> {
        Arc::new(Unrepresentable::new(self.table.to_string(), self.on_unrepresentable, schema))
    }
}

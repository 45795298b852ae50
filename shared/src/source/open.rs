//! Opens any source. Sources are an enum, not a trait: the set is closed, and each source has its own options.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use futures::stream::BoxStream;
use jiff::Timestamp;

use super::{files, mysql, postgres, unrepresentable::Unrepresentable};
use crate::{
    aws::rds::Signer,
    config::{OnUnrepresentable, Parquet, Source},
    error::{Error, Result},
    manifest::TypedBy,
    name::TableName,
    port::{Entry, Objects},
};

/// The client of Secrets Manager.
pub use aws_sdk_secretsmanager::Client as Secrets;

/// A stream of record batches. Memory does not grow with the number of rows.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// An opened source: all its rows as of one moment.
pub struct Opened {
    /// The schema of every batch. Names are unique and lower case, as Glue stores them.
    pub schema: SchemaRef,
    /// The moment of the snapshot that all rows come from.
    pub as_of: Timestamp,
    /// The origin of the column types.
    pub typed_by: TypedBy,
    /// Objects that S3 copies into the generation unchanged (passthrough).
    pub copies: Vec<Copy>,
    /// Streams of the other rows, to be read concurrently. Copies and streams together hold every row exactly once.
    pub streams: Vec<Batches>,
    /// Counts the values that became NULL. The counts are final once all streams have ended.
    pub unrepresentable: Arc<Unrepresentable>,
}

/// A Parquet object that passes through unchanged: Athena can read it, and its columns are exactly those to be written.
#[derive(Debug, Clone)]
pub struct Copy {
    pub entry: Entry,
    pub rows: u64,
}

/// The clients and settings that sources need.
#[derive(Clone)]
pub struct Context {
    pub objects: Arc<dyn Objects>,
    /// Reads `secret`. Without it, only `url` works.
    pub secrets: Option<Secrets>,
    /// Signs tokens for `auth = "iam"`.
    pub iam: Option<Signer>,
    pub now: Timestamp,
    /// The table that is built, for error messages.
    pub table: TableName,
    pub on_unrepresentable: OnUnrepresentable,
    /// The settings of the Parquet output; objects that match them may pass through. `None`: every row goes into a
    /// stream.
    pub copies: Option<Parquet>,
}

impl Context {
    /// Returns the counters and the policy for the columns of `schema`.
    pub fn unrepresentable(&self, schema: &Schema) -> Arc<Unrepresentable> {
        Arc::new(Unrepresentable::new(self.table.to_string(), self.on_unrepresentable, schema))
    }
}

/// Opens a source for reading. Inbox and engine datasets have no rows to read here, so they are an error.
pub async fn open(source: &Source, context: &Context) -> Result<Opened> {
    // Boxed because unboxed, together with the callers' futures, they exceed the compiler's recursion limit.
    match source {
        Source::Postgres(options) => Box::pin(postgres::open(options, context)).await,
        Source::Mysql(options) => Box::pin(mysql::open(options, context)).await,
        Source::Files(options) => Box::pin(files::open(options, context)).await,
        Source::Inbox(_) => {
            Err(Error::input("an inbox dataset is published by the optout function: invoke optout instead"))
        }
        Source::Athena(_) | Source::GlueJob(_) => Err(Error::input(
            "an engine writes the files of this dataset, so no rows can be read here: invoke export instead",
        )),
    }
}

/// Returns the columns of a source without reading its rows.
pub async fn schema(source: &Source, context: &Context) -> Result<SchemaRef> {
    match source {
        Source::Postgres(options) => Box::pin(postgres::schema(options, context)).await,
        Source::Mysql(options) => Box::pin(mysql::schema(options, context)).await,
        // Opening these reads no more than the columns need: the streams read the rows.
        Source::Files(_) | Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => {
            Ok(open(source, context).await?.schema)
        }
    }
}

/// A snapshot of a database, from which several queries are read one after the other.
pub enum Snapshot {
    Postgres(postgres::Snapshot),
    Mysql(mysql::Snapshot),
}

impl Snapshot {
    /// Connects to the database of the source and takes a snapshot.
    pub async fn take(source: &Source, context: &Context) -> Result<Snapshot> {
        match source {
            Source::Postgres(options) => {
                Box::pin(postgres::Snapshot::take(options, context)).await.map(Snapshot::Postgres)
            }
            Source::Mysql(options) => Box::pin(mysql::Snapshot::take(options, context)).await.map(Snapshot::Mysql),
            _ => Err(not_one_database(context)),
        }
    }

    /// Opens a source of the same database as of this snapshot. Earlier streams must have been read to the end or
    /// dropped.
    pub async fn open(&self, source: &Source, context: &Context) -> Result<Opened> {
        match (self, source) {
            (Snapshot::Postgres(snapshot), Source::Postgres(options)) => {
                Box::pin(snapshot.open(options, context)).await
            }
            (Snapshot::Mysql(snapshot), Source::Mysql(options)) => Box::pin(snapshot.open(options, context)).await,
            _ => Err(not_one_database(context)),
        }
    }

    /// Closes the connection.
    pub async fn end(self) {
        match self {
            Snapshot::Postgres(snapshot) => snapshot.end().await,
            Snapshot::Mysql(snapshot) => snapshot.end().await,
        }
    }
}

fn not_one_database(context: &Context) -> Error {
    Error::config(format!(
        "{}: datasets that share a snapshot must read from one postgres or mysql database",
        context.table
    ))
}

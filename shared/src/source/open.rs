//! The sources behind one door. An enum and not a trait: the set is closed, and each has its own options.

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

/// Secrets Manager.
pub use aws_sdk_secretsmanager::Client as Secrets;

/// Rows on their way, a batch at a time, in memory that does not grow with their number.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// An opened source: all of its rows as of one moment.
pub struct Opened {
    /// Of every batch. Names are lower case, as Glue keeps them, and unique.
    pub schema: SchemaRef,
    /// When the snapshot was taken that all rows are of.
    pub as_of: Timestamp,
    /// Where the column types come from.
    pub typed_by: TypedBy,
    /// Objects that go into the generation as they are.
    pub copies: Vec<Copy>,
    /// Streams of all other rows, to be read at the same time. Together with the copies they are the rows, each once.
    pub streams: Vec<Batches>,
    /// Its counts are final when all streams have ended.
    pub unrepresentable: Arc<Unrepresentable>,
}

/// A Parquet object of the very columns that are written, and readable by Athena.
#[derive(Debug, Clone)]
pub struct Copy {
    pub entry: Entry,
    pub rows: u64,
}

/// What sources need of the world.
#[derive(Clone)]
pub struct Context {
    pub objects: Arc<dyn Objects>,
    /// For `secret`; without it only `url` works.
    pub secrets: Option<Secrets>,
    /// For `auth = "iam"`.
    pub iam: Option<Signer>,
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

pub async fn open(source: &Source, context: &Context) -> Result<Opened> {
    // Boxed: in one piece with the callers' futures they are deeper than the compiler follows.
    match source {
        Source::Postgres(options) => Box::pin(postgres::open(options, context)).await,
        Source::Mysql(options) => Box::pin(mysql::open(options, context)).await,
        Source::Files(options) => Box::pin(files::open(options, context)).await,
        Source::Inbox(_) => Err(Error::input("an inbox is filled by drops and published by optout: ask optout for it")),
        Source::Athena(_) | Source::GlueJob(_) => {
            Err(Error::input("an engine writes the files itself, and no row passes through here: ask export for it"))
        }
    }
}

/// The columns of a source, and no rows.
pub async fn schema(source: &Source, context: &Context) -> Result<SchemaRef> {
    match source {
        Source::Postgres(options) => Box::pin(postgres::schema(options, context)).await,
        Source::Mysql(options) => Box::pin(mysql::schema(options, context)).await,
        // Objects are read when their streams are.
        Source::Files(_) | Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => {
            Ok(open(source, context).await?.schema)
        }
    }
}

/// One moment of a database, of which several queries are read one after the other.
pub enum Snapshot {
    Postgres(postgres::Snapshot),
    Mysql(mysql::Snapshot),
}

impl Snapshot {
    /// As the source and its context say how to reach the database.
    pub async fn take(source: &Source, context: &Context) -> Result<Snapshot> {
        match source {
            Source::Postgres(options) => {
                Box::pin(postgres::Snapshot::take(options, context)).await.map(Snapshot::Postgres)
            }
            Source::Mysql(options) => Box::pin(mysql::Snapshot::take(options, context)).await.map(Snapshot::Mysql),
            _ => Err(not_of_one_database(context)),
        }
    }

    /// All rows of a source of the same database as of this moment. What was opened before must have been read, or dropped.
    pub async fn open(&self, source: &Source, context: &Context) -> Result<Opened> {
        match (self, source) {
            (Snapshot::Postgres(snapshot), Source::Postgres(options)) => {
                Box::pin(snapshot.open(options, context)).await
            }
            (Snapshot::Mysql(snapshot), Source::Mysql(options)) => Box::pin(snapshot.open(options, context)).await,
            _ => Err(not_of_one_database(context)),
        }
    }

    pub async fn end(self) {
        match self {
            Snapshot::Postgres(snapshot) => snapshot.end().await,
            Snapshot::Mysql(snapshot) => snapshot.end().await,
        }
    }
}

fn not_of_one_database(context: &Context) -> Error {
    Error::config(format!("{}: a snapshot is of one database, postgres or mysql", context.table))
}

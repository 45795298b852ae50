//! The sources behind one door. An enum and not a trait: the set is closed, and each has its own options.

use arrow_schema::SchemaRef;
use turntable_core::{
    config::Source,
    error::{Error, Result},
};

use crate::{
    context::{Context, Opened},
    files, mysql, postgres,
};

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
            Ok(open(source, context).await?.rows.schema)
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

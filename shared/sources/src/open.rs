//! Opens sources of every kind. [`Source`] is an enum, not a trait, because the set is closed and each kind has its own
//! options.

use std::panic::AssertUnwindSafe;

use arrow_schema::SchemaRef;
use futures::FutureExt;
use turntable_core::{
    config::Source,
    error::{Error, Result},
    layout::TableName,
};

use crate::{
    context::{Context, Opened},
    files, mysql, postgres,
};

/// Opens a source for reading. Fails for inbox and engine datasets, which have no rows to read here.
pub async fn open(source: &Source, context: &Context) -> Result<Opened> {
    guarded(&context.table, unguarded(source, context)).await
}

async fn unguarded(source: &Source, context: &Context) -> Result<Opened> {
    // Boxed, because together with the callers' futures, these futures would exceed the compiler's recursion limit.
    match source {
        Source::Postgres(options) => Box::pin(postgres::open(options, context)).await,
        Source::Mysql(options) => Box::pin(mysql::open(options, context)).await,
        Source::Files(options) => Box::pin(files::open(options, context)).await,
        Source::Inbox(_) => {
            Err(Error::input("an inbox dataset is published by the optout function: invoke optout instead"))
        }
        Source::Athena(_) | Source::GlueJob(_) => Err(Error::input(
            "an engine writes this dataset's files, so there are no rows to read here: invoke export instead",
        )),
    }
}

/// Returns the columns of a source without reading its rows.
pub async fn schema(source: &Source, context: &Context) -> Result<SchemaRef> {
    match source {
        Source::Postgres(options) => guarded(&context.table, Box::pin(postgres::schema(options, context))).await,
        Source::Mysql(options) => guarded(&context.table, Box::pin(mysql::schema(options, context))).await,
        // Opening files reads only what determines the columns; the streams read the rows. Opening the others fails.
        Source::Files(_) | Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => {
            Ok(open(source, context).await?.rows.schema)
        }
    }
}

/// Returns warnings about unsafe settings of a source, such as a database that needn't prove its identity. Connects to
/// no database.
pub async fn remarks(source: &Source, context: &Context) -> Result<Vec<String>> {
    let unverified = match source {
        Source::Postgres(options) => Box::pin(postgres::unverified(options, context)).await?,
        Source::Mysql(options) => Box::pin(mysql::unverified(options, context)).await?,
        Source::Files(_) | Source::Inbox(_) | Source::Athena(_) | Source::GlueJob(_) => None,
    };
    Ok(unverified.into_iter().collect())
}

/// Runs a source's work. If its driver panics, only this source fails. (`background::batches` does the same for the
/// rows.)
async fn guarded<T>(table: &TableName, work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        Err(Error::corrupt(format!(
            "{table}: the source can't be opened, because its driver panicked: this is a bug, please report it with the log"
        )))
    })
}

/// A snapshot of a database. Several queries can read it, one after the other.
pub enum Snapshot {
    Postgres(Box<postgres::Snapshot>),
    Mysql(mysql::Snapshot),
}

impl Snapshot {
    /// Connects to the source's database and takes a snapshot. Fails if the source is not a database.
    pub async fn take(source: &Source, context: &Context) -> Result<Snapshot> {
        match source {
            Source::Postgres(options) => guarded(&context.table, Box::pin(postgres::Snapshot::take(options, context)))
                .await
                .map(|snapshot| Snapshot::Postgres(Box::new(snapshot))),
            Source::Mysql(options) => {
                guarded(&context.table, Box::pin(mysql::Snapshot::take(options, context))).await.map(Snapshot::Mysql)
            }
            _ => Err(not_one_database(context)),
        }
    }

    /// Opens a source that reads from the same database, as of this snapshot. Streams that were opened earlier must
    /// have been read to the end or dropped.
    pub async fn open(&self, source: &Source, context: &Context) -> Result<Opened> {
        match (self, source) {
            (Snapshot::Postgres(snapshot), Source::Postgres(options)) => {
                guarded(&context.table, Box::pin(snapshot.open(options, context))).await
            }
            (Snapshot::Mysql(snapshot), Source::Mysql(options)) => {
                guarded(&context.table, Box::pin(snapshot.open(options, context))).await
            }
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
        "{}: datasets that share a snapshot must read from the same postgres or mysql database: \
         change the source or the group",
        context.table
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_names_the_table() {
        let table = TableName { database: "dmp".into(), table: "users".into() };
        let error = guarded::<()>(&table, async { panic!("hunter2") }).await.unwrap_err();
        assert_eq!(
            error.report(),
            "dmp.users: the source can't be opened, because its driver panicked: this is a bug, please report it with the log"
        );
        assert!(guarded(&table, async { Ok(1) }).await.is_ok());
    }
}

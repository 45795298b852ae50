//! MySQL and MariaDB: a prepared query, whose rows come in binary and are not buffered, decoded into Arrow.
//!
//! All rows are of one moment, that of one read-only transaction. Memory is a few batches, however large the table is:
//! the socket is read no faster than batches are taken. There is one connection: neither MySQL nor MariaDB has a
//! snapshot that several connections could share, as PostgreSQL has, without a lock that readers may not take.

mod column;
mod decode;
mod describe;
mod failure;
mod server;
mod session;
mod types;
mod value;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use jiff::Timestamp;
use mysql_async::{Row, Statement, prelude::Queryable};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc::Sender};

use self::{decode::Decoder, server::Server, session::Session};
use crate::{
    background,
    context::{Context, Opened},
};
use turntable_core::{
    config::Mysql,
    error::{Error, Result},
    manifest::TypedBy,
};
use turntable_parquet::Rows;

pub async fn open(options: &Mysql, context: &Context) -> Result<Opened> {
    Snapshot::take(options, context).await?.open(options, context).await
}

/// One moment of a database: one connection, on which queries are read one after the other.
pub struct Snapshot {
    server: Arc<Server>,
    session: Arc<Mutex<Session>>,
    as_of: Timestamp,
}

impl Snapshot {
    /// The time-outs are those of `options`, for all queries.
    pub async fn take(options: &Mysql, context: &Context) -> Result<Snapshot> {
        let server = Arc::new(Server::of(options, context).await?);
        let session = Session::begin(&server).await?;
        let as_of = session.as_of;
        Ok(Snapshot { server, session: Arc::new(Mutex::new(session)), as_of })
    }

    /// What a query gives as of this moment. It waits until what was opened before has been read, or dropped.
    pub async fn open(&self, options: &Mysql, context: &Context) -> Result<Opened> {
        let server = self.server.clone();
        let mut session = self.session.clone().lock_owned().await;
        let described = describe::describe(session.conn()?, &server, &options.query).await?;
        let schema = Arc::new(described.schema());
        let unrepresentable = context.unrepresentable(&schema);
        let decoder = Decoder::new(schema.clone(), &described.wires(), unrepresentable.clone());
        let stream = background::batches("reading MySQL's rows", async move |sender| {
            read(&server, &mut session, described.statement, decoder, &sender).await?;
            let shared = OwnedMutexGuard::mutex(&session).clone();
            drop(session);
            end(shared).await;
            Ok(())
        });
        let (as_of, typed_by) = (self.as_of, TypedBy::Source);
        let rows = Rows { schema, copies: Vec::new(), streams: vec![stream] };
        Ok(Opened { rows, as_of, typed_by, unrepresentable })
    }

    pub async fn end(self) {
        end(self.session).await;
    }
}

/// Ends the session, if nobody else has it.
async fn end(session: Arc<Mutex<Session>>) {
    if let Some(session) = Arc::into_inner(session) {
        session.into_inner().end().await;
    }
}

/// The columns of the query, which is not run.
pub async fn schema(options: &Mysql, context: &Context) -> Result<SchemaRef> {
    let server = Server::of(options, context).await?;
    let mut session = Session::begin(&server).await?;
    let described = describe::describe(session.conn()?, &server, &options.query).await?;
    session.end().await;
    Ok(Arc::new(described.schema()))
}

async fn read(
    server: &Server,
    session: &mut Session,
    statement: Statement,
    mut decoder: Decoder,
    sender: &Sender<Result<RecordBatch>>,
) -> Result<()> {
    let mut result = session.conn()?.exec_iter(statement, ()).await.map_err(|error| failure::of(server, error))?;
    let rows = result.stream::<Row>().await.map_err(|error| failure::of(server, error))?;
    let mut rows = rows.ok_or_else(|| Error::corrupt("MySQL described rows and sends none"))?;
    while let Some(row) = rows.next().await {
        let row = row.map_err(|error| failure::while_reading(server, decoder.rows(), error))?;
        if let Some(batch) = decoder.push(&row)? {
            background::send(sender, batch).await?;
        }
    }
    match decoder.finish()? {
        Some(batch) => background::send(sender, batch).await,
        None => Ok(()),
    }
}

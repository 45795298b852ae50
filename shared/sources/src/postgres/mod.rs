//! Reads PostgreSQL with `COPY (query) TO STDOUT (FORMAT binary)` and decodes it straight into Arrow.
//!
//! All rows come from the snapshot of one read-only transaction. The socket is read no faster than batches are
//! consumed, so memory use is a few batches per connection, whatever the size of the table.

pub mod copy;
mod describe;
mod expression;
mod failure;
mod link;
mod parts;
mod plan;
mod server;
mod session;
mod settings;
mod sqlstate;
mod tap;
mod tls;
mod transcode;
mod types;

use std::{pin::pin, sync::Arc};

use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::{StreamExt, future::try_join_all};
use jiff::Timestamp;
use tokio_postgres::CopyOutStream;

use self::{
    copy::{Conversion, Decoder},
    server::Server,
    session::Session,
    settings::{SQL_ASCII, UTF8},
};
use crate::{
    background,
    context::{Context, Opened},
    unrepresentable::Part,
};
use turntable_core::{config::Postgres, error::Result, manifest::TypedBy};
use turntable_parquet::{Batches, Rows};

/// Starts reading the query's rows from a new snapshot.
pub async fn open(options: &Postgres, context: &Context) -> Result<Opened> {
    let server = Arc::new(Server::from_options(options, context).await?);
    let first = Session::begin(&server, None).await?;
    let as_of = first.as_of(&server).await?;
    read(options, context, server, first, as_of).await
}

/// An exported snapshot of a database. Other connections can use it as long as its session is open.
pub struct Snapshot {
    session: Session,
    name: String,
    as_of: Timestamp,
}

impl Snapshot {
    /// Connects, takes a snapshot and exports it.
    pub async fn take(options: &Postgres, context: &Context) -> Result<Snapshot> {
        let server = Server::from_options(options, context).await?;
        let session = Session::begin(&server, None).await?;
        let as_of = session.as_of(&server).await?;
        let name = export_snapshot(&server, &session).await?;
        Ok(Snapshot { session, name, as_of })
    }

    /// Starts reading the query's rows from this snapshot.
    pub async fn open(&self, options: &Postgres, context: &Context) -> Result<Opened> {
        let server = Arc::new(Server::from_options(options, context).await?);
        let first = Session::begin(&server, Some(&self.name)).await?;
        read(options, context, server, first, self.as_of).await
    }

    /// Closes the session, which ends the snapshot.
    pub async fn end(self) {
        self.session.end().await;
    }
}

async fn read(
    options: &Postgres,
    context: &Context,
    server: Arc<Server>,
    first: Session,
    as_of: Timestamp,
) -> Result<Opened> {
    let described = describe::describe(&first.link.client, &server, &options.query).await?;
    let schema = Arc::new(described.schema());
    let parts = parts::of(&first, &server, &described, options).await?;
    let copies = parts.copies;
    let unrepresentable = context.unrepresentable(&schema);
    let of = copies.len();
    let mut streams = Vec::new();
    for (session, copy) in sessions(&server, first, copies.len()).await?.into_iter().zip(copies) {
        if parts.is_ordered {
            session.keep_order(&server).await?;
        }
        let failed = |error| failure::in_statement(&server, &copy, &options.query, error);
        let rows = session.copy_out(&copy).await.map_err(failed)?;
        let part = Part { number: streams.len() + 1, of };
        let decoder = Decoder::new(schema.clone(), &described.wires(), unrepresentable.clone(), part)
            .with_conversion(conversion(&server, &session).await?);
        streams.push(batches(server.clone(), session, rows, decoder));
    }
    let rows = Rows { schema, copies: Vec::new(), streams };
    let is_unverified = server.unverified().is_some();
    Ok(Opened { rows, as_of, typed_by: TypedBy::Source, unrepresentable, is_unverified, objects: Vec::new() })
}

/// Returns a warning if the server would not be verified. Doesn't connect to it.
pub async fn unverified(options: &Postgres, context: &Context) -> Result<Option<String>> {
    Ok(Server::from_options(options, context).await?.unverified())
}

/// Returns the columns of the query without running it. Fails if the user may not run it, or if it can't be read in the
/// parts that the options ask for.
pub async fn schema(options: &Postgres, context: &Context) -> Result<SchemaRef> {
    let server = Server::from_options(options, context).await?;
    let session = Session::begin(&server, None).await?;
    let described = describe::describe(&session.link.client, &server, &options.query).await?;
    plan::allowed(&session.link.client, &server, &options.query).await?;
    // The caller reports a column that is missing, with its place in the file.
    if options.split_by.as_deref().is_none_or(|name| parts::column(&described, name).is_ok()) {
        parts::check(&session.link.client, &server, &described, options).await?;
    }
    session.end().await;
    Ok(Arc::new(described.schema()))
}

/// Returns `count` sessions that share `first`'s snapshot, including `first` itself.
async fn sessions(server: &Server, first: Session, count: usize) -> Result<Vec<Session>> {
    if count == 1 {
        return Ok(vec![first]);
    }
    let snapshot = export_snapshot(server, &first).await?;
    let others = try_join_all((1..count).map(|_| Session::begin(server, Some(&snapshot)))).await?;
    Ok([first].into_iter().chain(others).collect())
}

/// Returns the conversion for a session's text, or `None` if the text can be used unchanged. Text in a SQL_ASCII
/// database has no known encoding, so it must be UTF-8.
async fn conversion(server: &Arc<Server>, session: &Session) -> Result<Option<Conversion>> {
    if [UTF8, SQL_ASCII].contains(&session.encoding.as_str()) {
        return Ok(None);
    }
    let link = session::connect(server).await?;
    Ok(Some(transcode::conversion(server.clone(), link, session.encoding.clone())))
}

/// Exports the session's snapshot and returns its name, so that other sessions can use it.
async fn export_snapshot(server: &Server, session: &Session) -> Result<String> {
    let name = session.link.client.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await;
    name.and_then(|row| row.try_get(0)).map_err(|error| failure::error_of(server, error))
}

/// Returns the COPY's rows as batches, which a separate task decodes.
fn batches(server: Arc<Server>, mut session: Session, answers: CopyOutStream, mut decoder: Decoder) -> Batches {
    background::batches("decoding rows from PostgreSQL", async move |sender| {
        // `link.rows` ends before `answers` reports whether the COPY succeeded. Over a Unix socket, `link.rows` is
        // empty and `answers` yields the rows too.
        let tapped = (&mut session.link.rows).map(|rows| Ok(Bytes::from(rows)));
        let mut rows = pin!(tapped.chain(answers));
        while let Some(bytes) = rows.next().await {
            let bytes = bytes.map_err(|error| failure::while_copying(&server, decoder.rows(), error))?;
            decoder.push(&bytes)?;
            while let Some(batch) = decoder.ready.pop_front() {
                background::send(&sender, batch).await?;
            }
        }
        decoder.finish()?;
        for batch in decoder.ready.drain(..) {
            background::send(&sender, batch).await?;
        }
        session.end().await;
        Ok(())
    })
}

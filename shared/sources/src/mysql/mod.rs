//! Reads MySQL and MariaDB with a prepared query and decodes its binary rows into Arrow as they arrive.
//!
//! All rows come from the snapshot of one read-only transaction. The socket is read no faster than batches are
//! consumed, so memory use is a few batches per connection, whatever the size of the table. Connections can't share a
//! snapshot as in PostgreSQL; `shared_snapshot.rs` starts several at the same moment.

mod append;
mod charset;
mod codes;
mod decode;
mod describe;
mod failure;
mod parallel;
mod parts;
mod rows;
mod server;
mod session;
mod settings;
mod shared_snapshot;
mod types;
mod value;
mod warnings;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::{decode::Decoder, server::Server, session::Session};
use crate::{
    background,
    context::{Context, Opened},
    unrepresentable::Part,
};
use turntable_core::{config::Mysql, error::Result, manifest::TypedBy};
use turntable_parquet::Rows;

/// Starts reading the query's rows from a new snapshot.
pub async fn open(options: &Mysql, context: &Context) -> Result<Opened> {
    if options.parallel > 1 {
        return parallel::open(options, context).await;
    }
    Snapshot::take(options, context).await?.open(options, context).await
}

/// A snapshot of a database. Its one connection runs the queries one after the other, whatever their `parallel` says.
pub struct Snapshot {
    server: Arc<Server>,
    session: Arc<Mutex<Session>>,
    as_of: Timestamp,
}

impl Snapshot {
    /// Connects and takes a snapshot. The timeouts in `options` apply to every query on this snapshot.
    pub async fn take(options: &Mysql, context: &Context) -> Result<Snapshot> {
        let server = Arc::new(Server::from_options(options, context).await?);
        let session = Session::begin(&server).await?;
        let as_of = session.as_of;
        Ok(Snapshot { server, session: Arc::new(Mutex::new(session)), as_of })
    }

    /// Starts reading the query's rows from this snapshot. First waits until the previous stream has been read to the
    /// end or dropped.
    pub async fn open(&self, options: &Mysql, context: &Context) -> Result<Opened> {
        let server = self.server.clone();
        let mut session = self.session.clone().lock_owned().await;
        let mode = settings::apply_mode(session.conn()?, options.sql_mode.as_deref()).await;
        mode.map_err(|error| failure::error_of(&server, error))?;
        let described = describe::describe(session.conn()?, &server, &options.query, &options.allow_warnings).await?;
        let schema = Arc::new(described.schema());
        let unrepresentable = context.unrepresentable(&schema);
        let mut decoder = Decoder::new(schema.clone(), described.formats(), unrepresentable.clone(), Part::WHOLE);
        let allowed = options.allow_warnings.clone();
        let stream = background::batches("reading rows from MySQL", async move |sender| {
            rows::read(&server, &mut session, described.statement, &mut decoder, &allowed, &sender).await?;
            rows::finish(decoder, &sender).await?;
            let shared = OwnedMutexGuard::mutex(&session).clone();
            drop(session);
            end(shared).await;
            Ok(())
        });
        let (as_of, typed_by) = (self.as_of, TypedBy::Source);
        let rows = Rows { schema, copies: Vec::new(), streams: vec![stream] };
        let is_unverified = self.server.unverified().is_some();
        Ok(Opened { rows, as_of, typed_by, unrepresentable, is_unverified, objects: Vec::new() })
    }

    /// Ends the session. If a stream still uses it, the stream ends it.
    pub async fn end(self) {
        end(self.session).await;
    }
}

/// Ends the session, if this is its last owner.
async fn end(session: Arc<Mutex<Session>>) {
    if let Some(session) = Arc::into_inner(session) {
        session.into_inner().end().await;
    }
}

/// Returns a warning if the server would not be verified. Doesn't connect to it.
pub async fn unverified(options: &Mysql, context: &Context) -> Result<Option<String>> {
    Ok(Server::from_options(options, context).await?.unverified())
}

/// Returns the query's columns. Reads only the first rows, and fails if they raise warnings that aren't allowed, or if
/// the query can't be read over the connections that the options ask for.
pub async fn schema(options: &Mysql, context: &Context) -> Result<SchemaRef> {
    let server = Server::from_options(options, context).await?;
    let mut session = Session::begin(&server).await?;
    if options.parallel > 1 {
        parts::check(session.conn()?, &server, options).await?;
        shared_snapshot::check(&server, &mut session, options.snapshot).await?;
    }
    let described = describe::describe(session.conn()?, &server, &options.query, &options.allow_warnings).await?;
    describe::sample(session.conn()?, &server, &options.query, &options.allow_warnings).await?;
    session.end().await;
    Ok(Arc::new(described.schema()))
}

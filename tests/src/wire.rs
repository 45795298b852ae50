//! A wire between a function and its ports. Every call to a port goes over it, and the test decides the call's fate.

use std::{
    fmt,
    future::{Pending, pending},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use turntable::optout::view::View;
use turntable::{
    bucket_settings::BucketSettings,
    environment::Environment,
    error::{Error, Result},
    layout::{Key, Location, TableName},
    port::{self, Answered, Catalog, Chunks, Engine, Entry, Objects, Progress, Put, Query, Queue, Unfinished, Update},
    record::{EngineRun, Pending as Planned},
    table::{AuditTable, NewTable, TableChange, TableVersion},
};

/// The operation that a call performs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    Table,
    Update,
    Create,
    DeleteTable,
    Tables,
    HasPartitions,
    ColumnStatistics,
    DeleteColumnStatistics,
    Get,
    Range,
    Stream,
    Head,
    List,
    Folders,
    Settings,
    PutNew,
    Put,
    Replace,
    Copy,
    Delete,
    DeleteIf,
    Uploads,
    AbortUpload,
    Finish,
    Query,
    OldestQuery,
    Send,
    GiveBack,
    Bury,
    Start,
    RefreshOptions,
    Look,
}

impl Op {
    /// Returns whether the operation has an effect that others can see.
    pub fn is_effect(self) -> bool {
        use Op::{
            AbortUpload, Bury, Copy, Create, Delete, DeleteColumnStatistics, DeleteIf, DeleteTable, Finish, GiveBack,
            Put, PutNew, Query, Replace, Send, Start, Update,
        };
        matches!(
            self,
            Update
                | Create
                | DeleteTable
                | DeleteColumnStatistics
                | PutNew
                | Put
                | Replace
                | Copy
                | Delete
                | DeleteIf
                | AbortUpload
                | Finish
                | Query
                | Send
                | GiveBack
                | Bury
                | Start
        )
    }
}

/// One call: its operation, and the table, object, location or text that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    pub op: Op,
    pub on: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.op, self.on)
    }
}

/// The fate of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    Arrives,
    /// The call has no effect, and the caller gets an error.
    Fails,
    /// The call takes effect, and the caller gets an error.
    LosesReply,
    /// The call takes effect, the SDK loses the answer and sends the call again, and the caller gets the second answer.
    /// A port that recognises its own echo (by a mark or a token) answers as if nothing had happened:
    /// `tests/tests/it/sdk.rs` shows which ports do.
    Twice,
    /// Half of the objects are deleted, and the caller gets an error. Calls that delete nothing fail as with `Fails`.
    Half,
    /// The call has no effect, and the caller gets a success; or nothing is read, and the caller gets an empty answer.
    /// AWS never does this: it stands for a program that leaves the call out.
    LeftOut,
    /// The process dies before the call has any effect.
    NeverLeaves,
    /// The call takes effect, and then the process dies.
    LastOfAll,
}

/// Decides the fates of calls.
#[async_trait]
pub trait Wire: Send + Sync {
    /// Decides a call's fate. The call doesn't arrive before this returns.
    async fn fate(&self, call: Call) -> Fate;
}

/// A port behind a wire.
#[derive(Clone)]
pub struct Wired<P: ?Sized> {
    pub wire: Arc<dyn Wire>,
    pub port: Arc<P>,
}

/// Returns the environment with its ports behind a wire.
pub fn wired(env: &Environment, wire: Arc<dyn Wire>) -> Environment {
    Environment {
        catalog: Arc::new(Wired { wire: wire.clone(), port: env.catalog.clone() }),
        objects: Arc::new(Wired { wire: wire.clone(), port: env.objects.clone() }),
        query: Arc::new(Wired { wire, port: env.query.clone() }),
        ..env.clone()
    }
}

impl<P: ?Sized> Wired<P> {
    /// Makes a call to a port that doesn't recognise its own echo. `act` is the call, `again` is the SDK's second
    /// attempt, and `left_out` is the answer for [`Fate::LeftOut`].
    async fn twice<T>(
        &self,
        op: Op,
        on: impl fmt::Display,
        left_out: impl Into<Option<T>>,
        act: impl Future<Output = Result<T>>,
        again: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let call = Call { op, on: on.to_string() };
        let fate = self.wire.fate(call.clone()).await;
        carry(fate, &call, left_out.into(), act, Some(again)).await
    }

    /// Makes a call whose second attempt gets the same answer as the first, so that `act` is run once. `left_out` is
    /// the answer for [`Fate::LeftOut`].
    async fn once<T>(
        &self,
        op: Op,
        on: impl fmt::Display,
        left_out: impl Into<Option<T>>,
        act: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let call = Call { op, on: on.to_string() };
        let fate = self.wire.fate(call.clone()).await;
        carry(fate, &call, left_out.into(), act, None::<Pending<Result<T>>>).await
    }
}

async fn carry<T>(
    fate: Fate,
    call: &Call,
    left_out: Option<T>,
    act: impl Future<Output = Result<T>>,
    again: Option<impl Future<Output = Result<T>>>,
) -> Result<T> {
    let lost = || Err(Error::unavailable(format!("{call}: no answer")));
    match fate {
        Fate::Arrives => act.await,
        Fate::Fails | Fate::Half => lost(),
        Fate::LosesReply => act.await.and_then(|_| lost()),
        Fate::Twice => match (act.await, again) {
            (Ok(_), Some(again)) => again.await,
            (done, _) => done,
        },
        Fate::LeftOut => left_out.map_or_else(lost, Ok),
        Fate::NeverLeaves => pending().await,
        Fate::LastOfAll => {
            let _ = act.await;
            pending().await
        }
    }
}

#[async_trait]
impl Catalog for Wired<dyn Catalog> {
    async fn table(&self, name: &TableName) -> Result<Option<TableVersion>> {
        self.once(Op::Table, name, Some(None), self.port.table(name)).await
    }

    async fn update(&self, table: &TableVersion, change: &TableChange) -> Result<Update> {
        let to = change.location.as_ref().map(ToString::to_string).or_else(|| table.location.clone());
        let (token, to) = (table.token.as_deref().unwrap_or_default(), to.unwrap_or_default());
        let on = format!("{} at {token} to {to}", table.name);
        let again = self.port.update(table, change);
        self.twice(Op::Update, on, Update::Done, self.port.update(table, change), again).await
    }

    async fn create(&self, table: &NewTable) -> Result<Update> {
        let again = self.port.create(table);
        self.twice(Op::Create, table.name.to_string(), Update::Done, self.port.create(table), again).await
    }

    async fn copy(&self, table: &TableVersion, name: &TableName) -> Result<Update> {
        let again = self.port.copy(table, name);
        self.twice(Op::Create, name.to_string(), Update::Done, self.port.copy(table, name), again).await
    }

    async fn create_audit_table(&self, table: &AuditTable<'_>) -> Result<Update> {
        let again = self.port.create_audit_table(table);
        self.twice(Op::Create, table.name.to_string(), Update::Done, self.port.create_audit_table(table), again).await
    }

    async fn put_view(&self, view: &View, stored: Option<&TableVersion>) -> Result<Update> {
        let again = self.port.put_view(view, stored);
        let (op, on) = (if stored.is_some() { Op::Update } else { Op::Create }, view.name.to_string());
        self.twice(op, on, Update::Done, self.port.put_view(view, stored), again).await
    }

    async fn delete(&self, name: &TableName) -> Result<()> {
        self.once(Op::DeleteTable, name, (), self.port.delete(name)).await
    }

    async fn tables(&self, database: &str, prefix: &str) -> Result<Vec<TableVersion>> {
        self.once(Op::Tables, format!("{database}.{prefix}*"), Vec::new(), self.port.tables(database, prefix)).await
    }

    async fn has_partitions(&self, name: &TableName) -> Result<bool> {
        self.once(Op::HasPartitions, name, false, self.port.has_partitions(name)).await
    }

    async fn column_statistics(&self, name: &TableName, columns: &[String]) -> Result<Vec<port::ColumnStatistics>> {
        self.once(Op::ColumnStatistics, name, Some(Vec::new()), self.port.column_statistics(name, columns)).await
    }

    async fn delete_column_statistics(&self, name: &TableName, column: &str) -> Result<()> {
        self.once(Op::DeleteColumnStatistics, name, (), self.port.delete_column_statistics(name, column)).await
    }
}

#[async_trait]
impl Objects for Wired<dyn Objects> {
    async fn get(&self, at: &Key) -> Result<Option<Bytes>> {
        self.once(Op::Get, at, Some(None), self.port.get(at)).await
    }

    async fn get_with_etag(&self, at: &Key) -> Result<Option<(Bytes, String)>> {
        self.once(Op::Get, at, Some(None), self.port.get_with_etag(at)).await
    }

    async fn range(&self, at: &Key, etag: &str, range: Range<u64>) -> Result<Bytes> {
        self.once(Op::Range, at, None, self.port.range(at, etag, range)).await
    }

    async fn stream(&self, at: &Key, etag: &str) -> Result<Chunks> {
        self.once(Op::Stream, at, None, self.port.stream(at, etag)).await
    }

    async fn head(&self, at: &Key) -> Result<Option<Entry>> {
        self.once(Op::Head, at, Some(None), self.port.head(at)).await
    }

    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>> {
        self.once(Op::List, under, Vec::new(), self.port.list(under, after)).await
    }

    async fn folders(&self, under: &Location) -> Result<Vec<Location>> {
        self.once(Op::Folders, under, Vec::new(), self.port.folders(under)).await
    }

    async fn bucket_settings(&self, bucket: &str) -> Result<BucketSettings> {
        self.once(Op::Settings, bucket, BucketSettings::default(), self.port.bucket_settings(bucket)).await
    }

    async fn put_new(&self, at: &Key, body: Bytes) -> Result<Put> {
        self.once(Op::PutNew, at, Put::Created, self.port.put_new(at, body)).await
    }

    async fn put(&self, at: &Key, body: Bytes) -> Result<()> {
        self.once(Op::Put, at, (), self.port.put(at, body)).await
    }

    async fn replace(&self, at: &Key, etag: &str, body: Bytes) -> Result<bool> {
        self.once(Op::Replace, at, true, self.port.replace(at, etag, body)).await
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key) -> Result<String> {
        self.once(Op::Copy, to, etag.to_owned(), self.port.copy(from, etag, to)).await
    }

    async fn delete(&self, keys: &[Key]) -> Result<()> {
        let Some(first) = keys.first() else { return Ok(()) };
        let call = Call { op: Op::Delete, on: format!("{first} and {} more", keys.len() - 1) };
        match self.wire.fate(call.clone()).await {
            Fate::Half => {
                self.port.delete(&keys[..keys.len() / 2]).await?;
                Err(Error::unavailable(format!("{call}: some were not deleted")))
            }
            fate => carry(fate, &call, Some(()), self.port.delete(keys), None::<Pending<Result<()>>>).await,
        }
    }

    async fn delete_if(&self, at: &Key, etag: &str) -> Result<bool> {
        let again = self.port.delete_if(at, etag);
        self.twice(Op::DeleteIf, at, true, self.port.delete_if(at, etag), again).await
    }

    async fn uploads(&self, under: &Location) -> Result<Vec<Unfinished>> {
        self.once(Op::Uploads, under, Vec::new(), self.port.uploads(under)).await
    }

    async fn abort_upload(&self, upload: &Unfinished) -> Result<()> {
        self.once(Op::AbortUpload, &upload.key, (), self.port.abort_upload(upload)).await
    }

    async fn upload(&self, at: &Key) -> Result<Box<dyn port::Upload>> {
        // Beginning an upload sends no request: a small object is sent by `finish`.
        let upload = self.port.upload(at).await?;
        Ok(Box::new(Upload { wire: Wired { wire: self.wire.clone(), port: Arc::new(()) }, at: at.clone(), upload }))
    }
}

struct Upload {
    wire: Wired<()>,
    at: Key,
    upload: Box<dyn port::Upload>,
}

#[async_trait]
impl port::Upload for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.upload.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        let Upload { wire, at, upload } = *self;
        wire.once(Op::Finish, at, None, upload.finish()).await
    }

    async fn abort(self: Box<Self>) {
        self.upload.abort().await;
    }
}

#[async_trait]
impl Query for Wired<dyn Query> {
    async fn run(&self, database: &str, sql: &str) -> Result<Answered> {
        self.once(Op::Query, sql, None, self.port.run(database, sql)).await
    }

    async fn run_within(&self, database: &str, sql: &str, time: Duration) -> Result<Answered> {
        self.once(Op::Query, sql, None, self.port.run_within(database, sql, time)).await
    }

    async fn oldest_running(&self, workgroups: &[String]) -> Result<Option<Timestamp>> {
        self.once(Op::OldestQuery, workgroups.join(", "), Some(None), self.port.oldest_running(workgroups)).await
    }
}

#[async_trait]
impl Queue for Wired<dyn Queue> {
    async fn send(&self, bodies: Vec<String>) -> Result<()> {
        let again = self.port.send(bodies.clone());
        self.twice(Op::Send, bodies.join(", "), (), self.port.send(bodies), again).await
    }

    async fn send_later(&self, body: String, after: Duration) -> Result<()> {
        let again = self.port.send_later(body.clone(), after);
        self.twice(Op::Send, body.clone(), (), self.port.send_later(body, after), again).await
    }

    async fn change_visibility(&self, receipt: &str, after: Duration) -> Result<()> {
        self.once(Op::GiveBack, receipt, (), self.port.change_visibility(receipt, after)).await
    }

    async fn dead_letter(&self, body: &str, why: &Error) -> Result<()> {
        self.once(Op::Bury, body, (), self.port.dead_letter(body, why)).await
    }
}

#[async_trait]
impl Engine for Wired<dyn Engine> {
    /// Starts a run. In Athena, the SDK's second attempt has the same token as the first. The request that starts a
    /// Glue job is sent only once.
    async fn start(&self, pending: &Planned, again: bool) -> Result<String> {
        self.once(Op::Start, &pending.location, None, self.port.start(pending, again)).await
    }

    async fn ask(&self, workgroup: &str, database: &str, sql: &str) -> Result<Answered> {
        self.once(Op::RefreshOptions, sql, None, self.port.ask(workgroup, database, sql)).await
    }

    async fn progress(&self, run: &EngineRun) -> Result<Option<Progress>> {
        self.once(Op::Look, format!("{run:?}"), Some(None), self.port.progress(run)).await
    }
}

//! What the functions ask of AWS, as traits: each has a real implementation in [`turntable_aws`] and one in memory
//! (the `tests` crate), on which thousands of fault schedules run in process. Every effect goes through here.

use std::{fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

pub use crate::layout::Entry;
use crate::{
    error::{Error, Result},
    layout::{Key, Location, TableName},
    record::{Pending, Run},
    table::{AuditTable, NewTable, TableChange, TableVersion},
};

/// The Glue Data Catalog: the only truth about what is live.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// The table as it is now; `None` where there is no such table.
    async fn table(&self, name: &TableName) -> Result<Option<TableVersion>>;

    /// One `UpdateTable` with `SkipArchive`, on the condition that `table` is still the current version. Every field that
    /// `change` does not name stays as it was.
    /// An error, and a conflict too, may be the echo of an attempt that was committed: read the table again.
    async fn update(&self, table: &TableVersion, change: &TableChange) -> Result<Update>;

    /// `CreateTable`.
    async fn create(&self, table: &NewTable) -> Result<Update>;

    /// `CreateTable` of a table that only an audit reads.
    async fn create_audit_table(&self, table: &AuditTable<'_>) -> Result<Update>;

    /// `DeleteTable`; a table that is not there is deleted.
    async fn delete(&self, name: &TableName) -> Result<()>;

    /// The database's tables whose name starts with `prefix`.
    async fn tables(&self, database: &str, prefix: &str) -> Result<Vec<TableVersion>>;

    /// Whether the table has at least one registered partition.
    async fn has_partitions(&self, name: &TableName) -> Result<bool>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    Done,
    /// Somebody else changed or created the table since it was read.
    Conflict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Created,
    /// The key was taken; nothing was written.
    Exists,
}

/// What one `DeleteObjects` takes.
pub const DELETED_AT_ONCE: usize = 1000;

/// A multipart upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfinished {
    pub key: Key,
    pub id: String,
    pub initiated: Timestamp,
}

/// An object's content, a chunk at a time.
pub type Chunks = BoxStream<'static, Result<Bytes>>;

/// S3.
#[async_trait]
pub trait Objects: Send + Sync {
    /// The whole object; `None` where there is none.
    async fn get(&self, at: &Key) -> Result<Option<Bytes>>;

    /// Part of an object, of which `etag` must still be true. A missing or changed object is an error.
    async fn range(&self, at: &Key, etag: &str, range: Range<u64>) -> Result<Bytes>;

    /// The object as a stream, of which `etag` must still be true. A missing or changed object is an error.
    async fn stream(&self, at: &Key, etag: &str) -> Result<Chunks>;

    /// One object's entry; `None` where there is none.
    async fn head(&self, at: &Key) -> Result<Option<Entry>>;

    /// All objects under the location whose key is greater than `after`, in the order of their keys.
    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>>;

    /// Writes the object if the key is free (`If-None-Match: *`).
    async fn put_new(&self, at: &Key, body: Bytes) -> Result<Put>;

    /// Writes the object, whatever is there. Only for what is no part of a generation.
    async fn put(&self, at: &Key, body: Bytes) -> Result<()>;

    /// Writes the object if `etag` is still its own (`If-Match`). `false`: it has changed, and nothing was written. A missing
    /// object is an error.
    async fn replace(&self, at: &Key, etag: &str, body: Bytes) -> Result<bool>;

    /// Copies an object on the server, create-if-absent, if `etag` is still `from`'s; a missing or changed one is an
    /// error. Gives the ETag of what is at `to` then, which under SSE-KMS is another one than `etag`.
    async fn copy(&self, from: &Key, etag: &str, to: &Key) -> Result<String>;

    /// Deletes up to [`DELETED_AT_ONCE`] objects of one bucket; one that is not there is deleted. Only sweep may call it.
    /// An error may mean that some are gone.
    async fn delete(&self, keys: &[Key]) -> Result<()>;

    /// Deletes one object if `etag` is still its own. `false`: it has changed, or is not there. Only sweep may call it.
    async fn delete_if(&self, at: &Key, etag: &str) -> Result<bool>;

    /// The multipart uploads to keys under the location that were neither finished nor aborted.
    async fn uploads(&self, under: &Location) -> Result<Vec<Unfinished>>;

    /// Frees what S3 has kept of an upload; one that is not there is freed.
    async fn abort_upload(&self, upload: &Unfinished) -> Result<()>;

    /// Begins the streaming upload of a new object. Nothing can be read of it before [`Upload::finish`].
    async fn upload(&self, at: &Key) -> Result<Box<dyn Upload>>;
}

/// One object on its way to S3. Dropped without `finish` it leaves no object; call `abort` to leave no parts either.
#[async_trait]
pub trait Upload: Send {
    /// Takes bytes of any length, in order. May wait until earlier ones have left.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the object readable, create-if-absent. Gives its ETag, without quotes.
    async fn finish(self: Box<Self>) -> Result<String>;

    /// Gives up, and frees what S3 has kept of it. Best effort: failures are logged.
    async fn abort(self: Box<Self>);
}

/// Athena.
#[async_trait]
pub trait Query: Send + Sync {
    /// Runs one query to its end, never answered from an earlier result. An error of kind `Input` is the query's own
    /// fault: Athena took it, and running it again would fail again. Any other error says nothing of the query.
    async fn run(&self, database: &str, sql: &str) -> Result<Answered>;

    /// When the oldest query of these workgroups that is still queued or running was submitted; `None` where there is
    /// none. An error of kind `Config` means that it may not be asked.
    async fn oldest_running(&self, workgroups: &[String]) -> Result<Option<Timestamp>>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// The first hundred rows, without a header; null is `None`.
    pub rows: Vec<Vec<Option<String>>>,
    /// Bytes.
    pub scanned: u64,
}

/// Secrets Manager.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The secret's text, by its name or ARN; `None` where the secret is binary.
    async fn text(&self, name: &str) -> Result<Option<String>>;
}

/// Signs the tokens that RDS and Aurora take for a password where their IAM authentication is on.
#[async_trait]
pub trait TokenSigner: Send + Sync {
    /// The password of `user` at the server, until 15 minutes after `now`.
    async fn token(&self, host: &str, port: u16, user: &str, now: Timestamp) -> Result<String>;
}

/// A message queue: how `export` hands one dataset each to invocations of itself.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends every body; says which failed.
    async fn send(&self, bodies: Vec<String>) -> Result<()>;

    /// Gives a message that was received, and is not deleted, back after this time and not after the queue's own.
    async fn give_back(&self, receipt: &str, after: Duration) -> Result<()>;

    /// Puts a copy of a message among the dead letters, with the error for whoever finds it.
    async fn bury(&self, body: &str, why: &Error) -> Result<()>;
}

/// Athena and Glue as engines: they build a generation while nobody waits.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Starts a run and gives its name. `again`: it may have been started before, and then it is not started twice. An
    /// error of kind `Unavailable` or `Conflict` means that nobody knows whether it was; any other, that it was not.
    async fn start(&self, pending: &Pending, again: bool) -> Result<String>;

    /// Asks Athena something in a source's workgroup, as [`Query::run`] does.
    async fn ask(&self, workgroup: &str, database: &str, sql: &str) -> Result<Answered>;

    /// How a run is; `None` where there is no such run.
    async fn look(&self, run: &Run) -> Result<Option<Progress>>;
}

#[derive(Debug)]
pub struct Progress {
    /// Where it writes to; `None` where it is none of ours.
    pub location: Option<Location>,
    pub state: RunState,
}

#[derive(Debug)]
pub enum RunState {
    /// Or is about to.
    Running,
    Succeeded,
    /// The engine's reason, without what a row may hold.
    Failed(Error),
}

/// What no implementation can do anything about.
pub fn missing(at: &impl fmt::Display) -> Error {
    Error::conflict(format!("{at}: no such object, or it has changed since it was listed"))
}

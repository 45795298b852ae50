//! The ports: traits for every call that the functions make to AWS. `turntable-aws` implements them on AWS. In-memory
//! implementations let tests run thousands of random sequences of events and faults in process.
//!
//! [`Objects`] and [`Query`] are implemented in the module `memory`, and the other ports in `tests/src`. The in-memory
//! catalog stores Glue's own table type, so that these tests also run the conversions in `turntable-aws`.

use std::{fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

pub use crate::layout::Entry;
use crate::{
    bucket_settings::BucketSettings,
    error::{Error, Result},
    layout::{Key, Location, TableName},
    optout::view::View,
    record::{EngineRun, Pending},
    table::{AuditTable, NewTable, TableChange, TableVersion},
};

/// The Glue Data Catalog, which alone decides what is live.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Returns the current version of the table; `None` if it does not exist.
    async fn table(&self, name: &TableName) -> Result<Option<TableVersion>>;

    /// Sends one `UpdateTable` with `SkipArchive`. The update succeeds only if `table` is still the current version.
    /// Every field that `change` does not name stays as it was.
    ///
    /// The update may have been committed even if this returns an error or a conflict: the SDK retries, and a retry can
    /// conflict with its own first attempt. Read the table again to find out.
    async fn update(&self, table: &TableVersion, change: &TableChange) -> Result<Update>;

    /// Sends `CreateTable`. Returns [`Update::Conflict`] if the table exists.
    async fn create(&self, table: &NewTable) -> Result<Update>;

    /// Sends `CreateTable` for a copy of `table`, with all its settings, under another name. Returns
    /// [`Update::Conflict`] if a table with this name exists.
    async fn copy(&self, table: &TableVersion, name: &TableName) -> Result<Update>;

    /// Sends `CreateTable` for a table that only an audit reads.
    async fn create_audit_table(&self, table: &AuditTable<'_>) -> Result<Update>;

    /// Sends `CreateTable` for a view, or one `UpdateTable` that replaces `stored`, the view's current version. Returns
    /// [`Update::Conflict`] if the view has been created, or changed since `stored` was read.
    async fn put_view(&self, view: &View, stored: Option<&TableVersion>) -> Result<Update>;

    /// Sends `DeleteTable`. Deleting a missing table succeeds.
    async fn delete(&self, name: &TableName) -> Result<()>;

    /// Returns the database's tables whose names start with `prefix`.
    async fn tables(&self, database: &str, prefix: &str) -> Result<Vec<TableVersion>>;

    /// Returns whether the table has at least one registered partition.
    async fn has_partitions(&self, name: &TableName) -> Result<bool>;

    /// Returns the statistics that the catalog has for these columns. An update of the table doesn't change them.
    async fn column_statistics(&self, name: &TableName, columns: &[String]) -> Result<Vec<ColumnStatistics>>;

    /// Deletes a column's statistics. Succeeds even if there are none.
    async fn delete_column_statistics(&self, name: &TableName, column: &str) -> Result<()>;
}

/// A column's statistics in the catalog, such as the number of distinct values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnStatistics {
    pub column: String,
    /// When the statistics were computed.
    pub analyzed_at: Timestamp,
}

/// The result of updating or creating a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    Done,
    /// The table has been changed or created since it was read.
    Conflict,
}

/// The result of writing an object create-if-absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Created,
    /// An object exists at the key; nothing was written.
    Exists,
}

/// The most objects that S3 accepts in one `DeleteObjects` request.
pub const MAX_DELETES_PER_REQUEST: usize = 1000;

/// A multipart upload that was neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfinished {
    pub key: Key,
    pub id: String,
    pub initiated: Timestamp,
}

/// An object's content as a stream of chunks.
pub type Chunks = BoxStream<'static, Result<Bytes>>;

/// The calls to S3.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Returns the whole object; `None` if it does not exist.
    async fn get(&self, at: &Key) -> Result<Option<Bytes>>;

    /// Returns the whole object with its ETag, from one request; `None` if it does not exist.
    async fn get_with_etag(&self, at: &Key) -> Result<Option<(Bytes, String)>>;

    /// Returns the object's bytes in this range. Fails if the object is missing or its ETag is not `etag`.
    async fn range(&self, at: &Key, etag: &str, range: Range<u64>) -> Result<Bytes>;

    /// Returns the object as a stream. Fails if the object is missing or its ETag is not `etag`.
    async fn stream(&self, at: &Key, etag: &str) -> Result<Chunks>;

    /// Returns the object's size, ETag and modification time; `None` if it does not exist.
    async fn head(&self, at: &Key) -> Result<Option<Entry>>;

    /// Returns all objects under the location whose keys are greater than `after`, in key order.
    async fn list(&self, under: &Location, after: Option<&Key>) -> Result<Vec<Entry>>;

    /// Returns the first objects under the location, in key order, as many as one request returns.
    async fn list_first(&self, under: &Location) -> Result<Vec<Entry>> {
        self.list(under, None).await
    }

    /// Returns objects under the location whose keys are greater than `after`, in key order, and whether there are more.
    /// Stops after the request with which there are at least `most`.
    async fn list_some(&self, under: &Location, after: Option<&Key>, most: usize) -> Result<(Vec<Entry>, bool)> {
        let mut all = self.list(under, after).await?;
        let more = all.len() > most;
        all.truncate(most);
        Ok((all, more))
    }

    /// Returns the folders directly under the location, in order. Sends one request per 1,000 direct folders and
    /// objects.
    async fn folders(&self, under: &Location) -> Result<Vec<Location>>;

    /// Returns the bucket's settings. An error of kind `Config` means that a permission is missing. Only sweep's role
    /// has these permissions.
    async fn bucket_settings(&self, bucket: &str) -> Result<BucketSettings>;

    /// Writes the object only if none exists at the key (`If-None-Match: *`).
    async fn put_new(&self, at: &Key, body: Bytes) -> Result<Put>;

    /// Writes the object and overwrites an existing one. Only for objects that are not part of a generation.
    async fn put(&self, at: &Key, body: Bytes) -> Result<()>;

    /// Overwrites the object only if its ETag is `etag` (`If-Match`). Returns `false`, and writes nothing, if the
    /// object has changed. Fails if the object is missing.
    async fn replace(&self, at: &Key, etag: &str, body: Bytes) -> Result<bool>;

    /// Copies an object within S3, create-if-absent. Fails if the object at `from` is missing or its ETag is not
    /// `etag`. Returns the ETag of the object at `to`, which differs from `etag` under SSE-KMS.
    async fn copy(&self, from: &Key, etag: &str, to: &Key) -> Result<String>;

    /// Deletes up to [`MAX_DELETES_PER_REQUEST`] objects in one bucket. Deleting a missing object succeeds. If this
    /// returns an error, some objects may have been deleted. Only sweep may call this.
    async fn delete(&self, keys: &[Key]) -> Result<()>;

    /// Deletes one object only if its ETag is `etag`. Returns `false` if the object has changed or is missing. Only
    /// sweep may call this.
    async fn delete_if(&self, at: &Key, etag: &str) -> Result<bool>;

    /// Returns the multipart uploads to keys under the location that were neither completed nor aborted.
    async fn uploads(&self, under: &Location) -> Result<Vec<Unfinished>>;

    /// Aborts an upload, so that S3 frees its stored parts. Aborting a missing upload succeeds.
    async fn abort_upload(&self, upload: &Unfinished) -> Result<()>;

    /// Starts a streaming upload of a new object. The object can't be read before [`Upload::finish`].
    async fn upload(&self, at: &Key) -> Result<Box<dyn Upload>>;
}

/// A streaming upload of one object to S3. Dropping it without `finish` creates no object, but may leave stored parts
/// behind, which `abort` frees.
#[async_trait]
pub trait Upload: Send {
    /// Appends bytes of any length. May wait until earlier bytes have been sent.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the object readable, create-if-absent. Returns its ETag, without quotes.
    async fn finish(self: Box<Self>) -> Result<String>;

    /// Aborts the upload and frees the parts that S3 has stored. Best effort: failures are logged.
    async fn abort(self: Box<Self>);
}

/// The queries that Turntable runs in Athena.
#[async_trait]
pub trait Query: Send + Sync {
    /// Runs one query to completion, and never reuses an earlier result.
    ///
    /// An error of kind `Input` is the query's own fault: Athena accepted it, and running it again would fail again.
    /// Any other error says nothing about the query.
    async fn run(&self, database: &str, sql: &str) -> Result<Answered>;

    /// Like [`Query::run`], but cancels the query after this time, and then fails as `Unavailable`.
    async fn run_within(&self, database: &str, sql: &str, time: Duration) -> Result<Answered>;

    /// Returns when the oldest query that is still queued or running in these workgroups was submitted; `None` if there
    /// is none. An error of kind `Config` means that the permission to list queries is missing.
    async fn oldest_running(&self, workgroups: &[String]) -> Result<Option<Timestamp>>;
}

/// The answer to a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// The first rows of the result, without the header row; NULL is `None`. Athena returns at most 100 rows, including
    /// the header row.
    pub rows: Vec<Vec<Option<String>>>,
    /// The amount of data that the query scanned, in bytes.
    pub scanned: u64,
}

/// Reads secrets from Secrets Manager.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// Returns the text of the secret whose name or ARN is `name`; `None` if the secret is binary.
    async fn text(&self, name: &str) -> Result<Option<String>>;
}

/// Signs the tokens that RDS and Aurora accept as passwords when IAM authentication is on.
#[async_trait]
pub trait TokenSigner: Send + Sync {
    /// Returns the user's password for the server, valid until 15 minutes after `now`.
    async fn token(&self, host: &str, port: u16, user: &str, now: Timestamp) -> Result<String>;
}

/// A message queue, through which `export` invokes itself once for each dataset.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends every body. An error says how many messages were not sent; sending all of them again may send some twice.
    async fn send(&self, bodies: Vec<String>) -> Result<()>;

    /// Sends a message that is delivered after this time, at most 15 minutes.
    async fn send_later(&self, body: String, after: Duration) -> Result<()>;

    /// Makes a received message visible again after this time instead of the queue's own visibility timeout.
    async fn change_visibility(&self, receipt: &str, after: Duration) -> Result<()>;

    /// Sends a copy of a message to the dead-letter queue, with the error for an operator to read.
    async fn dead_letter(&self, body: &str, why: &Error) -> Result<()>;
}

/// The functions' dead-letter queues.
#[async_trait]
pub trait DeadLetterQueues: Send + Sync {
    /// Returns what is in each queue. The messages stay in their queues, and stay visible to others.
    async fn look(&self) -> Result<Vec<DeadLetterQueue>>;
}

/// The contents of a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterQueue {
    /// The function that failed on these messages and events, such as `export`.
    pub function: String,
    /// The number of messages, as SQS estimates it.
    pub messages: u64,
    /// Some of the messages, at most 10.
    pub sample: Vec<DeadLetter>,
}

/// A message in a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub body: String,
    /// The error that Turntable attached to the message. `None` if AWS sent the message.
    pub error: Option<String>,
    pub sent: Option<Timestamp>,
}

/// Athena and Glue as engines: they build a generation after the invocation that started them has ended.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Starts a run and returns its ID. If `again` is set, an earlier call may have started this run already. It is not
    /// started twice: the existing run's ID is returned.
    ///
    /// After an error of kind `Unavailable` or `Conflict`, the run may or may not have been started. After any other
    /// error, it was not.
    async fn start(&self, pending: &Pending, again: bool) -> Result<String>;

    /// Runs an Athena query in a source's workgroup, like [`Query::run`].
    async fn ask(&self, workgroup: &str, database: &str, sql: &str) -> Result<Answered>;

    /// Returns the progress of a run; `None` if there is no such run.
    async fn progress(&self, run: &EngineRun) -> Result<Option<Progress>>;
}

/// What an engine reports about a run.
#[derive(Debug)]
pub struct Progress {
    /// The location that the run writes to; `None` if Turntable did not start the run.
    pub location: Option<Location>,
    pub state: RunState,
}

#[derive(Debug)]
pub enum RunState {
    /// Queued or running.
    Running,
    Succeeded,
    /// The run failed or was cancelled. The error gives the engine's reason, without any text that may come from a row.
    Failed(Error),
}

/// Returns the error for an object that is missing or has changed. All implementations of [`Objects`] return this
/// error.
pub fn missing(at: &impl fmt::Display) -> Error {
    Error::conflict(format!("{at} is missing, or has changed since it was listed: invoke the function again"))
}

//! Makes a group run live: load → decide → audit every member → `_groups/GROUP.json` → move all tables → canaries.
//!
//! # Why a group never ends as a mixture of two runs
//!
//! A table is moved only while the group's record names the flip in flight, and only with the `VersionId` that was
//! read. The record is replaced only if its ETag is still the one that was read. So of all invocations that try to
//! start a flip, exactly one wins. The others find its flip in the record and finish it before they start their own.
//! Every step is idempotent, so it does not matter whether the invocation that started the flip is still running.
//!
//! - Forward: a table is moved from the location where it was when the flip started to its location in the run. Its
//!   `VersionId` was read first, then the record. When all tables are there, the record names the run as live.
//! - Back, from the moment that the record says so: each table that has been moved is moved back. Each table that has
//!   not been moved is fenced, which gives it a new `VersionId` too (`resume.rs`). Consider an invocation that still
//!   goes forward. If it read the `VersionId` before this update, its `VersionId` is stale. If it read the `VersionId`
//!   after, it also read the record after, and the record says that the flip goes back.
//! - So when a flip is over, in either direction, every `VersionId` that was read for it is stale. No invocation can
//!   move a table for that flip any more. An invocation that starts the next flip has either read the record after
//!   that, or loses the race for the record.
//!
//! One exception: a table that did not exist has no `VersionId`, and a flip never deletes a table. If the flip that
//! creates a table goes back, the new table may stay behind.
//!
//! The generations that the record names as live were live together: all tables were read again after the last table
//! had been moved.

mod flip;
mod operator;
mod prepare;
mod record;
mod report;
mod resume;
mod store;

pub use flip::flip;
pub use operator::{hold, release, rollback, status};
pub use record::{against_repair, named, record};
pub use report::GroupFlipReport;

//! Makes a group run live: load → decide → audit → write `_groups/GROUP.json` → move all tables → canaries.
//!
//! # Why a group never ends as a mixture of two runs
//!
//! An invocation moves a table only after it has found the flip in flight in the group's record, `_groups/GROUP.json`,
//! and only if the table still has the `VersionId` that the invocation read before that. It replaces the record only if
//! the record still has the ETag that the invocation read. So if several invocations try to start a flip, exactly one
//! succeeds. The others find its flip in the record and finish it before they start their own. Every step is
//! idempotent, so two invocations may carry out the same flip at once, and one may take over from another that died.
//!
//! - Forward: an invocation first reads a table's `VersionId`, and then reads the record (or replaces it, if the
//!   invocation starts the flip). After that, it moves the table from its location at the start of the flip to its
//!   location in the run. When all tables are there, the record names the run as live.
//! - Back, once the record says so: each table that has been moved is moved back, and each table that has not been
//!   moved is fenced (`resume.rs`). Either update gives the table a new `VersionId`. Another invocation may still be
//!   going forward. If it read the table's `VersionId` before this update, its own update fails. If it read the
//!   `VersionId` after this update, it also read the record after it, and the record says that the flip goes back.
//! - So when a flip is over, in either direction, every `VersionId` that was read in order to move a table is stale,
//!   and no invocation can move a table for this flip any more. An invocation that starts the next flip either read the
//!   record after that, or loses the race for the record.
//!
//! There is one exception. A table that doesn't exist yet has no `VersionId`, and a flip never deletes a table. So if a
//! flip that creates a table goes back, the new table may be left behind.
//!
//! The generations that the record names as live were all live at the same time: after the last table was moved, every
//! table was read again and found at its location in the run.

mod flip;
mod go_to;
mod operator;
mod prepare;
mod record;
mod report;
mod restore;
mod resume;
mod store;

pub use flip::flip;
pub use operator::{hold, release, rollback, status};
pub use record::{against_repair, named, record};
pub use report::GroupFlipReport;
pub use restore::{finish, restore};

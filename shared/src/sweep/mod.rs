//! Plans and carries out the deletion of unreachable generations. A plan depends only on the loaded state and the time.
//! No other module deletes objects.
//!
//! # Why no reader ever reads what sweep deletes
//!
//! Sweep reads the table and its `VersionId` ([`load()`]), then everything else, and then decides ([`plan()`]). For the
//! generations that may be deleted, it takes three steps in this order ([`act()`]):
//!
//! 1. It writes `_sweeping/GENERATION.json`.
//! 2. It fences the table: it sends one `UpdateTable` that changes nothing, on the `VersionId` that it read first.
//! 3. It deletes the manifests, then the data, then `_sweeping/GENERATION.json`.
//!
//! A flip reads the table's `VersionId`, then reads the `_sweeping` mark, then audits the objects at the new location,
//! and then updates the table on that `VersionId`. A rollback takes the same steps. Suppose that either goes to a
//! generation that sweep deletes:
//!
//! - The flip updates the table before sweep reads it. Then sweep sees the generation as live and does not plan to
//!   delete it.
//! - The flip updates the table between sweep's read and the fence. Then the fence fails, and nothing is deleted.
//! - The flip reads its `VersionId` before the fence and updates the table after it. Then the fence has made that
//!   `VersionId` stale, and the update fails.
//! - The flip reads its `VersionId` after the fence, when the mark has been written. If the mark still exists, the flip
//!   refuses. If sweep has already deleted the mark, it deleted all the data before that, so the audit that follows
//!   finds no objects and rejects the generation.
//!
//! So no generation goes live after any of its objects was deleted, not even one whose export finishes only now. The
//! table did not change between sweep's read and the fence, so every decision made in between was still true at the
//! fence.
//!
//! The proof requires that `retain.abandoned` exceeds the longest run. Otherwise, if two sweeps run at once, one may
//! delete the mark while the other still deletes data, and a run that was presumed dead could write its files and go
//! live in between. `tests/model` shows such a schedule.
//!
//! A `_sweeping` mark stays behind if sweep dies or the fence fails. The mark stops flips to a generation that the next
//! sweep deletes anyway. If that sweep must keep the generation instead, it deletes the mark once the mark is an hour
//! old, because no sweep runs that long.

mod act;
mod answer;
mod archive;
mod buckets;
mod contents;
mod environment;
mod one;
mod readers;
mod report;
mod requests;
mod response_limit;
mod retired;
mod tables;

pub use act::{Budget, Done, act};
pub use answer::{Item, Skipped, Swept};
pub use archive::{Archived, archivable, archive};
pub use contents::{Complete, TableContents, abandoned_uploads, load};
pub use environment::{Limits, Sweep};
pub use requests::{all, carry_out};
pub use tables::leftover_audit_tables;
pub use turntable_core::sweep::{Found, Kept, OldestQuery, PendingRun, Plan, Reason, SweepState, plan, since};

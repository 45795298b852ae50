//! Plans the deletion of unreachable generations (state and time in, a plan out), and carries it out. No other module
//! deletes objects.
//!
//! # Why no reader ever reads what sweep deletes
//!
//! Sweep reads the table and its `VersionId` ([`load()`]), then everything else, and then decides ([`plan()`]). For the
//! generations that may be deleted, it takes three steps in this order ([`act()`]):
//!
//! 1. It writes `_sweeping/GENERATION.json`.
//! 2. It fences: it sends one `UpdateTable` that changes nothing, on the `VersionId` that it read first.
//! 3. It deletes the manifests, then the data, then `_sweeping/GENERATION.json`.
//!
//! A flip or a rollback reads the table's `VersionId`, then reads `_sweeping`, then audits the objects at the new
//! location, and then updates the table on that `VersionId`. Suppose that it goes to a generation that sweep deletes:
//!
//! - It updates the table before sweep reads it. Then sweep sees the generation as live and does not plan to delete it.
//! - It updates the table between sweep's read and the fence. Then the fence fails, and nothing is deleted.
//! - It reads its `VersionId` before the fence and updates the table after it. Then the fence has made that `VersionId`
//!   stale, and the update fails.
//! - It reads its `VersionId` after the fence, when `_sweeping` has been written. If `_sweeping` still exists, it
//!   refuses. If sweep has already deleted `_sweeping`, it deleted all the data before it, so the audit that follows
//!   finds no objects and rejects the generation.
//!
//! So no generation goes live after any of its objects was deleted, not even one whose export finishes only now. The
//! table did not change between sweep's read and the fence, so every decision made in between was still true at the
//! fence.
//!
//! `abandoned` must exceed the longest run. With two sweeps at once, one may delete the mark while the other still
//! deletes data. A run that was presumed dead could then write its files and go live in between. `tests/model`
//! shows it.
//!
//! A `_sweeping` mark stays behind if sweep dies or the fence fails. It stops flips to a generation that the next sweep
//! deletes anyway. If the generation must be kept by then, sweep deletes the mark when it is one hour old, because no
//! sweep runs that long.

mod act;
mod answer;
mod archive;
mod contents;
mod environment;
mod one;
mod readers;
mod report;
mod requests;
mod response_limit;
mod tables;

pub use act::{Budget, Done, act};
pub use answer::{Item, Skipped, Swept};
pub use archive::{Archived, archivable, archive};
pub use contents::{Complete, TableContents, abandoned_uploads, load};
pub use environment::{Limits, Sweep};
pub use requests::{all, carry_out};
pub use tables::leftover_audit_tables;
pub use turntable_core::sweep::{Found, Kept, OldestQuery, PendingRun, Plan, Reason, SweepState, plan, since};

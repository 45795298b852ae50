//! What may go: state and time in, a plan out; and the one place that deletes.
//!
//! # Why nobody ever reads what sweep deletes
//!
//! Sweep does, in this order: read the table and its `VersionId` ([`look()`]), read all else, decide ([`plan()`]), and,
//! for the generations that may go ([`act()`]),
//!
//! 1. write `_sweeping/GENERATION.json`,
//! 2. fence: one `UpdateTable` that changes nothing, on the `VersionId` that was read first,
//! 3. delete the manifests, then the data, then `_sweeping/GENERATION.json`.
//!
//! A flip or a rollback reads the table's `VersionId`, then `_sweeping`, then audits what lies there, then updates the
//! table on that `VersionId`. Let it be to a generation that sweep deletes.
//!
//! - It updated the table before sweep read it: then the generation is live in sweep's eyes, and not in the plan.
//! - It updated the table between sweep's read and the fence: the fence fails, and nothing is deleted.
//! - It read its `VersionId` before the fence and updates after it: the fence has made that `VersionId` stale.
//! - It read its `VersionId` after the fence: `_sweeping` was there by then. Either it sees it and refuses, or it is
//!   gone again, and then all the data went before it: the audit that follows finds nothing and rejects.
//!
//! So no generation of which anything was deleted goes live, not even one whose export finishes only now. And as the
//! table did not change between sweep's read and the fence, what was decided in between was still true at the fence.
//!
//! `abandoned` must exceed the longest run: with two sweeps at once, one may take the mark away while the other still
//! deletes, and a run that was taken for dead could write its files and go live in between. `tests/model` has shown it.
//!
//! A `_sweeping` that stays behind (sweep died, or the fence failed) stops a flip to a generation that sweep will
//! delete next time anyway. If by then it may not go any more, its mark goes, an hour later: no sweep lives that long.

mod act;
mod archive;
mod look;
mod tables;

pub use act::{Budget, Done, act};
pub use archive::{Archived, archivable, archive};
pub use look::{Complete, Look, abandoned_uploads, look};
pub use tables::leftover_audit_tables;
pub use turntable_core::sweep::{Found, Kept, OldestQuery, Plan, Reason, Run, State, plan, since};

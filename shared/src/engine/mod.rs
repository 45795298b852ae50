//! Athena and Glue as engines. An engine writes a generation's files while Turntable doesn't wait, and the run is
//! settled afterwards.
//!
//! [`export`] writes a pending record next to the manifests, starts the run and returns. Later an event ([`run_ended`]),
//! sweep or the next export ([`check_pending`]) asks the engine for the run's state and settles the run once. A settled run
//! has either a manifest or a failed record. Both are create-if-absent, and events only trigger the check. So
//! duplicate, late and reordered events do nothing, and sweep makes up for a lost one.
//!
//! - A retry finds the pending record of the previous attempt and continues it. It finds an Athena run by its token,
//!   and a Glue job run by its argument `--turntable_location`. While a run is pending, no other is started for the
//!   dataset.
//! - A run is identified by its location, which is in the query and in the job's arguments. So a run can be settled
//!   even if its start was never confirmed.
//! - A run that ends after its failed record was written changes nothing: the record stays, and sweep deletes the
//!   files. A failure is reported before its record is written. So a process that dies in between may report it twice,
//!   but never loses it.

mod files;
mod outcome;
mod pending;
mod requests;
mod settle;
mod start;

pub use outcome::{Engines, Outcome};
pub use pending::failed;
pub use requests::{check_pending, export, run_ended};

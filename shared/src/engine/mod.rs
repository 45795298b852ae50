//! Runs Athena queries and Glue jobs as engines that write a generation's files. Turntable starts a run without waiting
//! for its end, and settles it later.
//!
//! [`export`] writes a pending record, starts the run and returns. Later, the engine's event ([`run_ended`]), a message
//! from sweep ([`check_pending`]) or the next [`export`] requests the run's state from the engine, and settles the run
//! if it has ended. A settled run has either a manifest or a failed record, and neither is ever overwritten. An event
//! only triggers this check, so duplicate, late and reordered events do no harm, and sweep makes up for a lost one.
//!
//! - A retry finds the pending record of the previous attempt, and continues its run instead of starting another. The
//!   engine recognises an Athena query by its token, and Turntable finds a Glue job run by its argument
//!   `--turntable_location`. While a run is pending, no other is started for the dataset.
//! - A run is identified by the location that it writes to, which is part of the query or of the job's arguments. So a
//!   run can be settled even if its start was never confirmed.
//! - If a run ends after its failed record was written, nothing changes: the record stays, and sweep deletes the
//!   files. A failure is reported before its record is written. If the process dies between the two, the failure may be
//!   reported twice, but it is never lost.

mod files;
mod filtered;
mod outcome;
mod pending;
mod requests;
mod settle;
mod start;

pub use outcome::{Engines, Outcome};
pub use pending::failed;
pub use requests::{check_pending, export, run_ended};

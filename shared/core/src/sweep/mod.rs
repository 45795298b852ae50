//! Decides which generations and records may be deleted.

mod plan;
#[cfg(test)]
mod tests;

pub use plan::{Found, Kept, OldestQuery, PendingRun, Plan, Reason, SweepState, plan, since};

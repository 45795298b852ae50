//! Decides which generations and records may be deleted. State and time in, a plan out.

mod plan;
#[cfg(test)]
mod tests;

pub use plan::{Found, Kept, OldestQuery, PendingRun, Plan, Reason, SweepState, plan, since};

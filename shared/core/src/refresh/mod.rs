//! Schedules, and the record that lets one run start for each due time.

mod cron;
mod record;
mod schedule;
#[cfg(test)]
mod tests;

pub use record::{Claim, Next, Record, Running};
pub use schedule::Schedule;

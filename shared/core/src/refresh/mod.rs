//! When a dataset is refreshed: schedules, what is due, and the record that lets one run start for each due time.

mod cron;
mod due;
mod record;
mod schedule;
#[cfg(test)]
mod tests;

pub use due::{Due, LastDue, due, has_schedules};
pub use record::{Claim, Record, Running};
pub use schedule::Schedule;

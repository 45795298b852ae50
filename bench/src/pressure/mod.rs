//! Measures what a contender asks of the database server while it runs.

mod mariadb;
mod postgres;
mod sample;
mod watch;

pub use sample::Pressure;
pub use watch::Watch;

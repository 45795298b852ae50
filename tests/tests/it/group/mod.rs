//! Datasets that flip together, on the ports in memory: all or none, with crashes, failures and concurrent writers anywhere.

mod flips;
pub mod lake;
mod operators;
mod schedules;

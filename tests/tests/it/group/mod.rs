//! Datasets that flip together, on in-memory ports: all or none, with crashes, failures and concurrent writers
//! anywhere.

mod flips;
pub mod lake;
mod lost_files;
mod operators;
mod schedules;

//! Datasets that flip together, on the ports in memory: all or none, wherever somebody dies, fails or comes in between.

mod flips;
pub mod lake;
mod operators;
mod schedules;

//! Datasets that flip together, on the ports in memory: all or none, wherever somebody dies, fails or comes in between.

mod flips;
mod lake;
mod operators;
mod schedules;
#[path = "../sweep/wire.rs"]
#[allow(dead_code, reason = "the tests of sweep use the rest")]
mod wire;

//! What the tests stand on.

pub mod catalog;
pub mod conformance;
pub mod memory;

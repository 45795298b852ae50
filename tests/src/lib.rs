//! What the tests stand on.

pub mod cases;
pub mod catalog;
pub mod conformance;
pub mod lake;
pub mod memory;
pub mod query;

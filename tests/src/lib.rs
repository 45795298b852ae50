//! What the tests share.

pub mod catalog;
pub mod conformance;
//! What the tests stand on.

pub mod memory;

//! What the tests share.

pub mod catalog;
pub mod conformance;

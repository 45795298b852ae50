//! An in-memory Athena.

pub use turntable_core::memory::query::{Memory, one};

//! Athena in memory.

pub use turntable_core::memory::query::{Memory, one};

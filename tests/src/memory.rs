//! S3 in memory.

pub use turntable_core::memory::objects::{NO_BUCKET, Objects};

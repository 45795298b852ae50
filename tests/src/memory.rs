//! An in-memory S3.

pub use turntable_core::memory::objects::{NO_BUCKET, Objects};

//! In-memory implementations of ports, for tests: [`objects`] is S3, and [`query`] is Athena.

pub mod objects;
pub mod query;

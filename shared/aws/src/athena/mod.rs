//! Queries in Athena.

mod failure;
mod query;
mod start;

pub(crate) use failure::ended;
pub use query::Athena;
pub(crate) use start::{Start, start};

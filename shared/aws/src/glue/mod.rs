//! The Glue Data Catalog.

mod api;
mod catalog;
mod convert;

pub use api::{Glue, GlueApi};
pub use catalog::GlueCatalog;
pub use convert::{unchanged, version_of};

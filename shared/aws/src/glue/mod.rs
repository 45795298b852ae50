//! The Glue Data Catalog.

mod api;
mod catalog;
mod column;
mod convert;
mod view;

pub use api::{Glue, GlueApi};
pub use catalog::GlueCatalog;
pub use convert::{unchanged, version_of};

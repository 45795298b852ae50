//! CSV, NDJSON and Parquet in S3: one object, or all under a prefix.
//!
//! Column types are declared, or inferred from the first records, or Parquet's own. Whatever does not fit them is an
//! error that names the object, the line and the column, never the value.

pub mod codec;
pub mod column;
pub mod csv;
pub mod infer;
pub mod input;
pub mod json;
pub mod ndjson;
pub mod object;
pub mod records;
pub mod row;
pub mod text;

mod convert;
pub(super) mod decode;
mod finer;
mod listing;
mod open;
pub(crate) mod parquet;
mod pass;

pub use open::open;

//! Reads CSV, NDJSON and Parquet objects in S3: one object, or all objects under a prefix.
//!
//! Column types are declared, inferred from the first records (CSV and NDJSON), or taken from the Parquet schema. A
//! value that doesn't fit its column is an error. The error names the object, the column and, in text formats, the
//! line, but never the value.

pub mod codec;
pub mod csv;
pub mod infer;
pub mod input;
pub mod json;
mod json_records;
pub mod ndjson;
pub mod number;
pub mod object;
pub mod page_bounds;
pub mod records;
pub mod row;
pub mod text;

mod convert;
pub(super) mod decode;
mod folders;
mod header;
mod hints;
mod listing;
mod nested;
mod open;
pub(crate) mod parquet;
mod passthrough;
mod scalar;
mod separators;
mod table_format;
mod time_of_day;
mod timestamps;

pub use listing::entries;
pub use open::open;

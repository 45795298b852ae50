//! Writes record batches as Parquet objects, and reads Parquet footers.
//!
//! Each stream of rows has its own pipeline, whose stages run at the same time. The source fills a chunk of rows.
//! Meanwhile `encode` encodes the previous chunk on several threads, one column per thread, and `output` sends the
//! previous row group. Rows stay in order within a stream.

pub mod arrow_types;
mod encode;
mod file;
mod footer;
mod nested_nulls;
mod output;
mod page;
pub mod partitioned;
mod progress;
mod properties;
mod rows;
mod sound;
mod target;
mod timestamps;
mod write;

pub use footer::{columns_of, read_footer};
pub use nested_nulls::nested_nulls;
pub use page::{PageHeader, page_header};
pub use progress::Progress;
pub use rows::{Batches, Passthrough, Rows};
pub use sound::{contradiction, has_encrypted_columns};
pub use timestamps::{int96_columns, int96_in};
pub use write::{Written, write, write_until};

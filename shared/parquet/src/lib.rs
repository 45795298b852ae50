//! Arrow batches → Parquet objects → manifest entries; and what a Parquet file says of itself.
//!
//! Each stream of rows goes through a pipeline of its own, whose stages run at the same time: the source fills a
//! chunk of rows, `encode` encodes the one before on all its threads, a column each, and `output` uploads the row
//! group before that. Rows stay in order within a stream.

pub mod arrow_types;
mod encode;
mod file;
mod footer;
mod output;
pub mod partitioned;
mod rows;
mod split;
mod timestamps;
mod write;

pub use footer::{columns_of, read_footer};
pub use rows::{Batches, Copy, Rows};
pub use timestamps::{int96_columns, with_micros};
pub use write::{Progress, Written, write, write_until};

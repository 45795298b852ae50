//! Writes record batches as Parquet objects in partition folders. Rows may come in any order. Memory is bounded,
//! regardless of the number of rows and partitions.
//!
//! Rows are buffered by partition. When they take too much memory, the rows of the largest partition become a row group
//! of its file, which stays open. When the open files hold too much memory, the largest file is finished. So rows that
//! are sorted by partition give a few large files. Unsorted rows give more and smaller files, whose number is limited
//! too.

mod chunks;
mod outcome;
mod pool;
mod split;
mod write;

pub use outcome::{PartitionedOutcome, Written};
pub use write::write_until;

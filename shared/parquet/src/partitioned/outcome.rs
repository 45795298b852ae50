//! The outcome of a partitioned write.

use turntable_core::{manifest::File, partition::Partition};

use crate::progress::Progress;

/// The outcome of [`super::write_until`].
pub enum PartitionedOutcome {
    All(Written),
    /// The stop signal came before all rows were written. No upload is left unfinished.
    Stopped(Progress),
}

/// The files and partitions that were written.
pub struct Written {
    /// The files, sorted by key.
    pub files: Vec<File>,
    pub partitions: Vec<Partition>,
    /// The number of partitions that have rows.
    pub existing: usize,
    /// The number of partitions that Athena's projection will look for.
    pub projected: u64,
}

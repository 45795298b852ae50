//! The progress of a write.

/// Counts of the work done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The number of rows that were encoded or copied.
    pub rows: u64,
    /// The number of bytes that were sent to S3, or that S3 copied.
    pub bytes: u64,
    /// The number of files that were started.
    pub files: usize,
}

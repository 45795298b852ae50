//! The progress of a write.

/// Counts of the work done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows encoded.
    pub rows: u64,
    /// Bytes sent to S3.
    pub bytes: u64,
    /// Files started.
    pub files: usize,
}

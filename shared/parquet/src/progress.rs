//! How far a write has come.

/// Counts of the work done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Encoded rows.
    pub rows: u64,
    /// Bytes sent to S3.
    pub bytes: u64,
    /// Files begun.
    pub files: usize,
}

//! How much one round of a refresh reads from an inbox.

use std::sync::Arc;

use turntable_core::{consent::accepts::Accepts, layout::Location};

/// The limits on what one round of a refresh reads. Anybody who may write into an inbox decides how many drops there
/// are, how large they are and how many of their records are invalid. So a round stops reading at the first of these
/// limits and publishes what it has read. It reads at least one drop, so each round makes progress.
#[derive(Clone)]
pub struct Limits {
    /// The number of records, valid or not, at which reading stops.
    pub records: u64,
    /// The maximum number of drops to read.
    pub drops: usize,
    /// The total size of drops, in bytes, at which reading stops.
    pub bytes: u64,
    /// Returns whether the time for reading is over.
    pub is_late: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The rules for drops. `None` if the objects aren't drops but a table's files.
    pub rules: Option<Rules>,
}

/// The rules for the drops in an inbox.
#[derive(Clone)]
pub struct Rules {
    /// The inbox. If S3 lists a drop in it but doesn't serve it, only that drop is rejected.
    pub inbox: Location,
    pub accepts: Accepts,
}

impl Limits {
    /// Returns limits that let a whole table be read.
    pub fn none() -> Limits {
        Limits { records: u64::MAX, drops: usize::MAX, bytes: u64::MAX, is_late: Arc::new(|| false), rules: None }
    }
}

/// The number of records at which a round of a refresh stops reading drops. The remaining drops are left for the next
/// round, which follows immediately.
pub const ENOUGH: u64 = 6_000_000;

//! What `sweep` needs.

use std::sync::Arc;

use jiff::SignedDuration;
use turntable_core::port::Queue;

use crate::environment::Environment;

/// The clients and the limits of `sweep`.
#[derive(Clone)]
pub struct Sweep {
    pub env: Environment,
    /// `export`'s queue, for requests to check pending engine runs.
    pub queue: Arc<dyn Queue>,
    pub limits: Limits,
}

/// The limits of one invocation. The next invocation continues.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After this time, no dataset and no deletion is started.
    pub time: SignedDuration,
    /// The maximum number of objects to delete or move.
    pub objects: usize,
}

impl Default for Limits {
    /// Limits the time to 12 minutes, because the template's timeout is 15 minutes.
    fn default() -> Self {
        Limits { time: SignedDuration::from_mins(12), objects: 1_000_000 }
    }
}

//! The clients and limits for `sweep`.

use std::sync::Arc;

use jiff::SignedDuration;
use turntable_core::port::Queue;

use crate::environment::Environment;

/// The environment, the queue and the limits for `sweep`.
#[derive(Clone)]
pub struct Sweep {
    pub env: Environment,
    /// `export`'s queue. Sweep sends requests to it to check pending engine runs.
    pub queue: Arc<dyn Queue>,
    pub limits: Limits,
}

/// The limits for one invocation. The next invocation continues.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The time after which the invocation starts no more datasets and no more deletions.
    pub time: SignedDuration,
    /// The maximum number of objects to delete or move.
    pub objects: usize,
}

impl Default for Limits {
    /// Returns limits of one million objects and of 12 minutes, because the timeout in the template is 15 minutes.
    fn default() -> Self {
        Limits { time: SignedDuration::from_mins(12), objects: 1_000_000 }
    }
}

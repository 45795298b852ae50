//! The clients and limits of `sweep`.

use std::sync::Arc;

use jiff::SignedDuration;
use turntable_core::port::Queue;

use crate::environment::Environment;

/// The environment, the queue and the limits that `sweep` works with.
#[derive(Clone)]
pub struct Sweep {
    pub env: Environment,
    /// `export`'s queue, to which sweep sends requests to check pending engine runs.
    pub queue: Arc<dyn Queue>,
    pub limits: Limits,
}

/// The limits of one invocation. The next invocation continues.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The time after which the invocation starts no further dataset and no further deletion.
    pub time: SignedDuration,
    /// The maximum number of objects to delete or move.
    pub objects: usize,
}

impl Default for Limits {
    /// Returns limits of 12 minutes, because the template's timeout is 15 minutes, and of one million objects.
    fn default() -> Self {
        Limits { time: SignedDuration::from_mins(12), objects: 1_000_000 }
    }
}

//! The clients and limits for `sweep`.

use std::sync::Arc;

use jiff::SignedDuration;
use turntable_core::{
    error::{Error, Result},
    port::Queue,
};

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
    /// A dataset without a `refresh` of its own is overdue if its live generation is older than this.
    pub live_age: SignedDuration,
}

impl Limits {
    /// Sets `live_age` from a number of seconds.
    pub fn with_live_age(self, seconds: &str) -> Result<Limits> {
        let fault = |fault: std::num::ParseIntError| {
            Error::config("LIVE_AGE_SECONDS is not a whole number: set the template's LiveAgeSeconds").caused_by(fault)
        };
        let seconds = seconds.parse().map_err(fault)?;
        Ok(Limits { live_age: SignedDuration::from_secs(seconds), ..self })
    }
}

impl Default for Limits {
    /// Returns these limits: 12 minutes (the template's timeout is 15 minutes), one million objects, and an age of 26
    /// hours (the template's schedule is daily).
    fn default() -> Self {
        Limits { time: SignedDuration::from_mins(12), objects: 1_000_000, live_age: SignedDuration::from_hours(26) }
    }
}

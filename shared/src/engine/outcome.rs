//! What a request about an engine run needs, and its outcome.

use std::sync::Arc;

use turntable_core::{error::Error, manifest::Manifest, port::Engine, record::Pending};

use crate::environment::Environment;

/// The environment and the engine.
#[derive(Clone)]
pub struct Engines {
    pub env: Environment,
    pub engine: Arc<dyn Engine>,
}

/// The state of a run after a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was started, now or by an earlier attempt.
    Started(Pending),
    /// It has not ended yet.
    Running(Pending),
    /// Its manifest was written, which triggers the flip.
    Complete(Manifest),
    /// It failed, and the failed record isn't written yet. The caller reports the failure and then writes the record
    /// with [`failed`]. In this order a failure may be reported twice, but is never lost.
    Failed(Pending, Error),
    /// There is nothing to do, for this reason.
    Nothing(String),
}

//! The ports for requests about engine runs, and the outcome of these requests.

use std::sync::Arc;

use turntable_core::{error::Error, manifest::Manifest, port::Engine, record::Pending};

use crate::environment::Environment;

/// The environment, and the engine that starts runs and reports their state.
#[derive(Clone)]
pub struct Engines {
    pub env: Environment,
    pub engine: Arc<dyn Engine>,
}

/// The outcome of a request about an engine run.
#[derive(Debug)]
pub enum Outcome {
    /// The run was started, now or by an earlier attempt.
    Started(Pending),
    /// The run has not ended yet.
    Running(Pending),
    /// The run's manifest was written. Its S3 event triggers the flip.
    Complete(Manifest),
    /// The run failed, but its failed record isn't written yet. The caller must first report the failure and then write
    /// the record with [`failed`](super::failed), so that the failure is never lost, although it may be reported twice.
    Failed(Pending, Error),
    /// There is nothing to do. The string says why.
    Nothing(String),
}

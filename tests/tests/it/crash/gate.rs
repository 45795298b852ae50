//! The gate at which the calls of all runs wait until they are let through.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tests::wire::{Call, Fate, Wire};
use tokio::sync::oneshot;

#[derive(Default)]
pub struct Gate(Mutex<Vec<Waiting>>);

/// A call that waits at the gate.
pub struct Waiting {
    pub run: usize,
    pub call: Call,
    fate: oneshot::Sender<Fate>,
}

impl Gate {
    /// Returns the wire for one run.
    pub fn line(self: &Arc<Self>, run: usize) -> Arc<dyn Wire> {
        Arc::new(Line { gate: self.clone(), run })
    }

    /// Returns the waiting calls, sorted by run and call, so that their order doesn't depend on timing.
    pub fn waiting(&self) -> Vec<(usize, Call)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A dropped call no longer waits.
        waiting.retain(|waiting| !waiting.fate.is_closed());
        waiting.sort_by(|one, other| (one.run, &one.call).cmp(&(other.run, &other.call)));
        waiting.iter().map(|waiting| (waiting.run, waiting.call.clone())).collect()
    }

    /// Lets through the call at this place in [`Gate::waiting`], and decides its fate.
    pub fn let_through(&self, place: usize, fate: Fate) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
        // The call may have been dropped in between.
        let _ = waiting.fate.send(fate);
    }

    /// Discards a dead run's remaining calls.
    pub fn forget(&self, run: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|waiting| waiting.run != run);
    }
}

struct Line {
    gate: Arc<Gate>,
    run: usize,
}

#[async_trait]
impl Wire for Line {
    async fn fate(&self, call: Call) -> Fate {
        let (fate, told) = oneshot::channel();
        self.gate.0.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { run: self.run, call, fate });
        told.await.unwrap_or(Fate::NeverLeaves)
    }
}

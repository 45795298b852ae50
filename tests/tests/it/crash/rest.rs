//! A runtime that tells when all that runs on it waits for somebody else: for the time, or for a test.
//!
//! Then, and only then, the next call may arrive; so a schedule depends on nothing but its seed, although rows are decoded
//! and encoded on threads of their own.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::{runtime::Builder, task::LocalSet};

#[derive(Default)]
pub struct Rest {
    /// Threads that have work. Tokio names one when it is spawned, and it ends with its work.
    threads: AtomicUsize,
    reached: AtomicBool,
    waker: AtomicWaker,
}

/// Runs this on a runtime of its own.
pub fn run<T>(play: impl AsyncFnOnce(Arc<Rest>) -> T) -> T {
    let rest = Arc::new(Rest::default());
    let (begins, ends, parks) = (rest.clone(), rest.clone(), rest.clone());
    let runtime = Builder::new_current_thread()
        .enable_time()
        .thread_keep_alive(Duration::ZERO)
        .thread_name_fn(move || {
            begins.threads.fetch_add(1, Ordering::SeqCst);
            "blocking".into()
        })
        .on_thread_stop(move || {
            ends.threads.fetch_sub(1, Ordering::SeqCst);
            ends.waker.wake();
        })
        // Called when no task can go on.
        .on_thread_park(move || {
            if parks.threads.load(Ordering::SeqCst) == 0 {
                parks.reached.store(true, Ordering::SeqCst);
                parks.waker.wake();
            }
        })
        .build()
        .expect("a runtime");
    // The functions' futures need not be `Send`.
    LocalSet::new().block_on(&runtime, play(rest))
}

impl Rest {
    /// Waits until no task can go on and no thread has work.
    pub async fn reached(&self) {
        self.reached.store(false, Ordering::SeqCst);
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.reached.swap(false, Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

//! A runtime that reports when everything on it is waiting for the clock or for the test.
//!
//! The next call may arrive only at such a moment. So a schedule depends only on its seed, although rows are decoded
//! and encoded on separate threads.

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
    /// How many threads are busy. A thread counts from when Tokio names it, just before spawning it, until it ends,
    /// which it does as soon as its work is done.
    threads: AtomicUsize,
    reached: AtomicBool,
    waker: AtomicWaker,
}

/// Runs `play` on its own runtime.
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
        // Tokio calls this when no task can continue.
        .on_thread_park(move || {
            if parks.threads.load(Ordering::SeqCst) == 0 {
                parks.reached.store(true, Ordering::SeqCst);
                parks.waker.wake();
            }
        })
        .build()
        .expect("a runtime");
    // The functions' futures needn't be `Send`.
    LocalSet::new().block_on(&runtime, play(rest))
}

impl Rest {
    /// Waits until no task can continue and no thread is busy.
    pub async fn reached(&self) {
        self.reached.store(false, Ordering::SeqCst);
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.reached.swap(false, Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

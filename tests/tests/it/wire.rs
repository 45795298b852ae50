//! A wire that decides each call's fate from the call's number.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use tests::wire::{self, Call, Fate, wired};
use turntable::environment::Environment;

type Meanwhile = Box<dyn FnOnce() + Send>;

pub struct Wire {
    calls: AtomicUsize,
    /// The call at which the process dies: this call and all later ones fail. A deletion is half done.
    dies_at: usize,
    /// A call's number, and what another writer does just before that call.
    meanwhile: Mutex<Option<(usize, Meanwhile)>>,
    /// A seed that decides how many other tasks run during a call; 0 means none.
    turns: AtomicU64,
}

impl Wire {
    fn around(env: &Environment, dies_at: usize, meanwhile: Option<(usize, Meanwhile)>) -> (Arc<Wire>, Environment) {
        let (calls, meanwhile, turns) = (AtomicUsize::new(0), Mutex::new(meanwhile), AtomicU64::new(0));
        let wire = Arc::new(Wire { calls, dies_at, meanwhile, turns });
        (wire.clone(), wired(env, wire))
    }

    /// Returns an environment whose process dies at a call.
    pub fn dying(env: &Environment, at: usize) -> (Arc<Wire>, Environment) {
        Wire::around(env, at, None)
    }

    /// Returns an environment in which another writer acts just before a call.
    pub fn meeting(
        env: &Environment,
        at: usize,
        meanwhile: impl AsyncFnOnce() + Send + 'static,
    ) -> (Arc<Wire>, Environment) {
        Wire::meeting_and_dying(env, at, usize::MAX, meanwhile)
    }

    pub fn meeting_and_dying(
        env: &Environment,
        at: usize,
        dies_at: usize,
        meanwhile: impl AsyncFnOnce() + Send + 'static,
    ) -> (Arc<Wire>, Environment) {
        let on = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(meanwhile());
        Wire::around(env, dies_at, Some((at, Box::new(on))))
    }

    /// Returns an environment whose calls take random times, and whose process may die at a call.
    pub fn turning(env: &Environment, seed: u64, dies_at: Option<usize>) -> Environment {
        let (wire, env) = Wire::around(env, dies_at.unwrap_or(usize::MAX), None);
        wire.turns.store(seed | 1, Ordering::Relaxed);
        env
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    async fn take_turns(&self) {
        let next = |seed: u64| (seed > 0).then(|| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(2) | 1);
        let seed = self.turns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        for _ in 0..(seed >> 40) % 8 {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl wire::Wire for Wire {
    async fn fate(&self, _: Call) -> Fate {
        self.take_turns().await;
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let due = self.meanwhile.lock().unwrap().take_if(|(at, _)| *at == call);
        if let Some((_, meanwhile)) = due {
            std::thread::spawn(meanwhile).join().unwrap();
        }
        match call {
            call if call < self.dies_at => Fate::Arrives,
            call if call == self.dies_at => Fate::Half,
            _ => Fate::Fails,
        }
    }
}

//! Time and randomness, the two things that the pure half must not have.

use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

/// Gives the time and fresh ULIDs; the tests have one that they move.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    random: Arc<dyn Fn() -> u128 + Send + Sync>,
}

impl Clock {
    pub fn new(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        random: impl Fn() -> u128 + Send + Sync + 'static,
    ) -> Self {
        Clock { now: Arc::new(now), random: Arc::new(random) }
    }

    /// The machine's own.
    #[expect(clippy::disallowed_methods, reason = "the one place that has them")]
    pub fn system() -> Self {
        Clock::new(Timestamp::now, || Ulid::generate().random())
    }

    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub fn ulid(&self) -> Ulid {
        Ulid::from_parts(self.now().as_millisecond().max(0) as u64, (self.random)())
    }
}

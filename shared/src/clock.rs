//! The source of time and randomness. The pure modules take both as arguments instead.

use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

/// A source of the current time and of new ULIDs. Tests use their own source.
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

    /// Returns a clock that uses the machine's time and randomness.
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the time and randomness")]
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

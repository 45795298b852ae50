//! An invocation's deadline.

use std::time::{Duration, Instant};

/// When an invocation started, and when it must stop by itself, shortly before Lambda would kill it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    began: Instant,
    at: Instant,
}

/// The maximum time between the deadline and Lambda's timeout. It is reserved for aborting uploads and returning an
/// answer.
const MAX_MARGIN: Duration = Duration::from_secs(30);

impl Deadline {
    /// Returns the deadline for an invocation that starts now and that Lambda kills after `time`. The margin between
    /// the two is a tenth of `time`, but no more than 30 s.
    pub fn after(time: Duration) -> Self {
        let began = Instant::now();
        Self { began, at: began + time - MAX_MARGIN.min(time / 10) }
    }

    /// Returns the time that is left.
    pub fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Returns the time since the invocation started.
    pub fn spent(self) -> Duration {
        self.began.elapsed()
    }
}

/// Waits until the deadline, or forever if there is none.
pub async fn passed(deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.at.into()).await,
        None => std::future::pending().await,
    }
}

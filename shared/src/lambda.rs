//! What the four `main.rs` have in common: logs, clients, and how an error leaves.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use tracing::error;

use crate::{clock::Clock, error::Error};

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Diagnostic { error_type: error.kind().as_str().into(), error_message: error.report() }
    }
}

/// When an invocation must have come to its end by itself.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    began: Instant,
    at: Instant,
}

/// What is left at the end, at most: to abort uploads, and to answer.
const MARGIN: Duration = Duration::from_secs(30);

impl Deadline {
    /// Lambda will end the invocation after this time. A tenth of it is left, or half a minute.
    pub fn after(time: Duration) -> Self {
        let began = Instant::now();
        Self { began, at: began + time - MARGIN.min(time / 10) }
    }

    /// The time from the invocation's beginning.
    pub fn spent(self) -> Duration {
        self.began.elapsed()
    }
}

/// Without a deadline this never comes.
pub async fn passed(deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.at.into()).await,
        None => std::future::pending().await,
    }
}

/// The AWS configuration of every client.
pub async fn aws() -> aws_config::SdkConfig {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(Duration::from_secs(3)).read_timeout(Duration::from_secs(30)).build();
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .timeout_config(timeouts)
        .load()
        .await
}

/// Serves invocations until Lambda ends the process. A failure is logged here, once.
pub async fn serve<W, F, A>(world: W, handle: impl Fn(W, Value) -> F) -> Result<(), lambda_runtime::Error>
where
    W: Clone,
    F: Future<Output = Result<A, Error>>,
    A: Serialize,
{
    serve_until(world, |world, event, _| handle(world, event)).await
}

/// As [`serve`], for a handler that minds when Lambda will end the invocation.
pub async fn serve_until<W, F, A>(
    world: W,
    handle: impl Fn(W, Value, Option<Deadline>) -> F,
) -> Result<(), lambda_runtime::Error>
where
    W: Clone,
    F: Future<Output = Result<A, Error>>,
    A: Serialize,
{
    let handle = &handle;
    let world = &world;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        let left = event.context.deadline.checked_sub(Clock::system().now().as_millisecond().unsigned_abs());
        let deadline = left.map(|left| Deadline::after(Duration::from_millis(left)));
        let answer = handle(world.clone(), event.payload, deadline).await;
        if let Err(failure) = &answer {
            error!(kind = failure.kind().as_str(), error = failure.report(), "failed");
        }
        answer
    }))
    .await
}

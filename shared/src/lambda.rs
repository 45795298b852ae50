//! What the four `main.rs` have in common: logs, clients, and how an error leaves.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use lambda_runtime::{
    Diagnostic, LambdaEvent, service_fn,
    tracing::subscriber::{self, EnvFilter, filter::LevelFilter},
};
use serde::Serialize;
use serde_json::Value;
use tracing::{debug, error};

use crate::{clock::Clock, environment};
use turntable_core::error::Error;

/// A failed invocation, as Lambda reports it.
#[derive(Debug)]
struct Failure(Error);

impl From<Failure> for Diagnostic {
    fn from(Failure(error): Failure) -> Self {
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

/// The crates whose lines carry names and counts only.
const OURS: [&str; 5] = ["turntable", "export", "flip", "optout", "sweep"];

/// Logs in the format and at the level that Lambda was told of (its "advanced logging controls"). Other crates are heard
/// from INFO on: below that the SDKs log requests and answers whole, and with them values of rows.
pub fn log() {
    let level =
        environment::optional("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let filter = EnvFilter::builder()
        .with_default_directive(level.min(LevelFilter::INFO).into())
        .parse_lossy(OURS.map(|name| format!("{name}={level}")).join(","));
    let lines = subscriber::fmt().with_target(false).without_time().with_env_filter(filter);
    match environment::optional("AWS_LAMBDA_LOG_FORMAT") {
        Some(format) if format.eq_ignore_ascii_case("json") => lines.json().init(),
        _ => lines.init(),
    }
    debug!(%level, "logs");
}

/// The AWS configuration of every client.
pub async fn aws() -> aws_config::SdkConfig {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(Duration::from_secs(3)).read_timeout(Duration::from_secs(30)).build();
    aws_config::defaults(BehaviorVersion::latest()).retry_config(retries()).timeout_config(timeouts).load().await
}

/// How often a call is sent that gets no answer, or is refused for now (`ThrottlingException`, `SlowDown`, 5xx), and how
/// long it waits before: a random part of 1, 2, 4 and 8 s (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>).
/// Not adaptive: that would slow all calls of a client down for the one that is throttled, as the same page says.
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(5)
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
            let (dataset, kind) = (failure.dataset(), failure.kind().as_str());
            error!(dataset, kind, error = failure.report(), "failed");
        }
        answer.map_err(Failure)
    }))
    .await
}

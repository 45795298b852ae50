//! The code that the `main.rs` files of all four functions share: logging, the configuration of AWS clients, and the
//! loop that serves invocations and reports their errors.

use std::{future::Future, time::Duration};

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use lambda_runtime::{
    Context, Diagnostic, LambdaEvent, service_fn,
    tracing::subscriber::{
        self, EnvFilter,
        filter::LevelFilter,
        fmt::{
            SubscriberBuilder,
            format::{Format, Json, JsonFields},
        },
    },
};
use serde::Serialize;
use serde_json::Value;
use tracing::{debug, error};

use crate::{clock::Clock, deadline::Deadline, environment, invocation::Invocation};
use turntable_core::error::Error;

/// The error of a failed invocation, in the form that Lambda reports.
#[derive(Debug)]
struct Failure(Error);

impl From<Failure> for Diagnostic {
    fn from(Failure(error): Failure) -> Self {
        Diagnostic { error_type: error.kind().as_str().into(), error_message: error.report() }
    }
}

/// The log targets of Turntable's own crates, as prefixes: `turntable` also matches `turntable_core` and the other
/// libraries. Their log lines contain only names, counts and object keys, never values from rows.
const OWN_CRATES: [&str; 5] = ["turntable", "export", "flip", "optout", "sweep"];

/// Sets up logging in the format and at the level that Lambda's advanced logging controls configure.
///
/// Other crates never log below INFO, because below that the SDKs log entire requests and responses, including values
/// from rows.
pub fn log() {
    let level =
        environment::optional("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let filter = EnvFilter::builder()
        .with_default_directive(level.min(LevelFilter::INFO).into())
        .parse_lossy(OWN_CRATES.map(|name| format!("{name}={level}")).join(","));
    match environment::optional("AWS_LAMBDA_LOG_FORMAT") {
        Some(format) if format.eq_ignore_ascii_case("json") => json_lines(filter).init(),
        // Lambda adds the time to plain-text lines.
        _ => subscriber::fmt().with_target(false).without_time().with_env_filter(filter).init(),
    }
    debug!(%level, "logs");
}

/// Returns a subscriber that logs in JSON. Each line has an RFC 3339 timestamp, because Lambda treats a line without a
/// valid `timestamp` as level INFO, whatever its `level`
/// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>).
fn json_lines(filter: EnvFilter) -> SubscriberBuilder<JsonFields, Format<Json>, EnvFilter> {
    subscriber::fmt().json().with_target(false).with_env_filter(filter)
}

/// Loads the configuration that all AWS clients use, and sets its timeouts and retries.
pub async fn aws() -> aws_config::SdkConfig {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(Duration::from_secs(3)).read_timeout(Duration::from_secs(30)).build();
    aws_config::defaults(BehaviorVersion::latest()).retry_config(retries()).timeout_config(timeouts).load().await
}

/// Returns the retry settings: up to 5 attempts for a call that gets no response or a temporary error
/// (`ThrottlingException`, `SlowDown`, 5xx). The pause before each retry is a random fraction of 1, 2, 4 and 8 s
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>).
///
/// The adaptive mode is not used because, according to the same page, it slows down all of a client's calls when one is
/// throttled.
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(5)
}

/// Serves invocations until Lambda ends the process. Logs each failure once.
pub async fn serve<W, F, A>(env: W, handle: impl Fn(W, Value, Invocation) -> F) -> Result<(), lambda_runtime::Error>
where
    W: Clone,
    F: Future<Output = Result<A, Error>>,
    A: Serialize,
{
    let handle = &handle;
    let env = &env;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        let left = event.context.deadline.checked_sub(Clock::system().now().as_millisecond().unsigned_abs());
        let deadline = left.map(|left| Deadline::after(Duration::from_millis(left)));
        let Context { request_id, invoked_function_arn, .. } = &event.context;
        let invocation = Invocation::new(request_id, invoked_function_arn, deadline);
        // A handler's future is large.
        let answer = Box::pin(handle(env.clone(), event.payload, invocation)).await;
        if let Err(failure) = &answer {
            let (dataset, kind) = (failure.dataset(), failure.kind().as_str());
            error!(dataset, kind, error = failure.report(), "failed");
        }
        answer.map_err(Failure)
    }))
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use jiff::Timestamp;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_has_the_time_and_the_level_that_lambda_filters_by() {
        let (written, filter) = (Written::default(), EnvFilter::new("info"));
        let writer = written.clone();
        let lines = json_lines(filter).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(lines, || error!(dataset = "users", "failed"));
        let line: Value = serde_json::from_slice(&written.0.lock().unwrap()).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["fields"], serde_json::json!({ "message": "failed", "dataset": "users" }));
        line["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
    }
}

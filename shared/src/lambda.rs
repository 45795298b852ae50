//! What the four `main.rs` have in common: logs, clients, and how an error leaves.

use std::{future::Future, time::Duration};

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use tracing::error;

use crate::error::Error;

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Diagnostic { error_type: error.kind().as_str().into(), error_message: error.report() }
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
    let handle = &handle;
    let world = &world;
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        let answer = handle(world.clone(), event.payload).await;
        if let Err(failure) = &answer {
            error!(kind = failure.kind().as_str(), error = failure.report(), "failed");
        }
        answer
    }))
    .await
}

use std::sync::Arc;

use sweep::{Limits, Sweep};
use turntable::{aws::sqs::Sqs, environment, lambda};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let aws = lambda::aws().await;
    let sweep = Sweep {
        env: environment::Environment::from_env(&aws)?,
        queue: Arc::new(Sqs::new(
            &aws,
            environment::required("QUEUE_URL")?,
            environment::required("DEAD_LETTERS_URL")?,
        )),
        limits: Limits::default().with_live_age(&environment::required("LIVE_AGE_SECONDS")?)?,
    };
    lambda::serve(sweep, |sweep, event, invocation| {
        sweep::handle(Sweep { env: sweep.env.during(invocation), limits: sweep.limits, queue: sweep.queue }, event)
    })
    .await
}

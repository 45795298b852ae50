use std::sync::Arc;

use sweep::{Limits, Sweep};
use turntable::{aws::sqs::Sqs, lambda, world};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let aws = lambda::aws().await;
    let sweep = Sweep {
        world: world::World::from_env(&aws)?,
        queue: Arc::new(Sqs::new(&aws, world::env("QUEUE_URL")?, world::env("DEAD_LETTERS_URL")?)),
        limits: Limits::default(),
    };
    lambda::serve(sweep, sweep::handle).await
}

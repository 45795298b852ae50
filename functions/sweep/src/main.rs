use std::sync::Arc;

use sweep::{Limits, Sweep};
use turntable::{aws::athena::Athena, lambda, world::World};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let aws = lambda::aws().await;
    let sweep = Sweep { world: World::from_env(&aws)?, query: Arc::new(Athena::new(&aws)), limits: Limits::default() };
    lambda::serve(sweep, sweep::handle).await
}

use sweep::{Limits, Sweep};
use turntable::{lambda, world::World};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let sweep = Sweep { world: World::from_env(&lambda::aws().await)?, limits: Limits::default() };
    lambda::serve(sweep, sweep::handle).await
}

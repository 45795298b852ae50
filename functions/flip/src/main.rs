use turntable::{environment::World, lambda};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let world = World::from_env(&lambda::aws().await)?;
    lambda::serve(world, flip::answer).await
}

use turntable::{environment::Environment, lambda};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let env = Environment::from_env(&lambda::aws().await)?;
    lambda::serve(env, flip::answer).await
}

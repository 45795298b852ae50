use turntable::{environment::Environment, lambda};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let env = Environment::with_checks_role(&lambda::aws().await).await?;
    lambda::serve(env, |env, event, invocation| flip::answer(env.during(invocation), event)).await
}

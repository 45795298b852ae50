use optout::Optout;
use turntable::{aws::rds::Signer, lambda, source::Secrets, world::World};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let aws = lambda::aws().await;
    let optout = Optout {
        world: World::from_env(&aws)?,
        secrets: Some(Secrets::new(&aws)),
        iam: Signer::new(&aws),
        deadline: None,
    };
    lambda::serve_until(optout, |optout, event, deadline| optout::handle(Optout { deadline, ..optout }, event)).await
}

use std::sync::Arc;

use export::Export;
use turntable::{
    aws::{engine::Engines, rds::Signer, sqs::Sqs},
    lambda, world,
};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let aws = lambda::aws().await;
    let export = Export {
        world: world::World::from_env(&aws)?,
        queue: Arc::new(Sqs::new(&aws, world::env("QUEUE_URL")?, world::env("DEAD_LETTERS_URL")?)),
        engine: Arc::new(Engines::new(&aws, world::optional("ATHENA_OUTPUT"))),
        secrets: Some(turntable::source::Secrets::new(&aws)),
        deadline: None,
        iam: Signer::new(&aws),
    };
    lambda::serve_until(export, |export, event, deadline| export::handle(Export { deadline, ..export }, event)).await
}

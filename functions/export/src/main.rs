use std::sync::Arc;

use turntable::{aws::sqs::Sqs, lambda, world};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let aws = lambda::aws().await;
    let export = export::Export {
        world: world::World::from_env(&aws)?,
        queue: Arc::new(Sqs::new(&aws, world::env("QUEUE_URL")?)),
        secrets: Some(turntable::source::Secrets::new(&aws)),
    };
    lambda::serve(export, export::handle).await
}

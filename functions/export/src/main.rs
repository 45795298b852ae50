use std::sync::Arc;

use export::Export;
use turntable::{
    aws::{engine::Engines, rds::Signer, secrets::SecretsManager, sqs::Sqs},
    environment, lambda,
};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let aws = lambda::aws().await;
    let export = Export {
        env: environment::Environment::from_env(&aws)?,
        queue: Arc::new(Sqs::new(
            &aws,
            environment::required("QUEUE_URL")?,
            environment::required("DEAD_LETTERS_URL")?,
        )),
        engine: Arc::new(Engines::new(&aws, environment::optional("ATHENA_OUTPUT"))),
        secrets: Some(Arc::new(SecretsManager::new(&aws))),
        deadline: None,
        iam: Signer::new(&aws).map(|signer| Arc::new(signer) as _),
    };
    lambda::serve(export, |export, event, invocation| {
        let deadline = invocation.deadline;
        export::handle(Export { deadline, env: export.env.during(invocation), ..export }, event)
    })
    .await
}

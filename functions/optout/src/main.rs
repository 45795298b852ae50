use std::sync::Arc;

use optout::Optout;
use turntable::{
    aws::{rds::Signer, secrets::SecretsManager},
    environment::Environment,
    lambda,
};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::log();
    let aws = lambda::aws().await;
    let optout = Optout {
        env: Environment::from_env(&aws)?,
        secrets: Some(Arc::new(SecretsManager::new(&aws))),
        iam: Signer::new(&aws).map(|signer| Arc::new(signer) as _),
        deadline: None,
    };
    lambda::serve(optout, |optout, event, invocation| {
        let deadline = invocation.deadline;
        optout::handle(Optout { deadline, env: optout.env.during(invocation), ..optout }, event)
    })
    .await
}

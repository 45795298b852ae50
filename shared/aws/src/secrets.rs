//! The [`Secrets`] port on Secrets Manager.

use async_trait::async_trait;
use aws_sdk_secretsmanager::{Client, error::ProvideErrorMetadata};
use turntable_core::{
    error::{Error, Result},
    port::Secrets,
};

pub struct SecretsManager(pub Client);

impl SecretsManager {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        SecretsManager(Client::new(config))
    }
}

#[async_trait]
impl Secrets for SecretsManager {
    async fn text(&self, name: &str) -> Result<Option<String>> {
        let error = match self.0.get_secret_value().secret_id(name).send().await {
            Ok(answer) => return Ok(answer.secret_string),
            Err(error) => error.into_service_error(),
        };
        Err(match error.code() {
            Some("ResourceNotFoundException") => Error::config(format!(
                "secret {name:?}: not found in Secrets Manager in this region: check the name or ARN"
            )),
            Some("AccessDeniedException") => Error::config(format!(
                "secret {name:?}: access denied: allow secretsmanager:GetSecretValue (and kms:Decrypt, if the secret has \
                 its own KMS key)"
            )),
            _ => Error::unavailable(format!(
                "secret {name:?}: the request to Secrets Manager failed: invoke the function again"
            ))
            .caused_by(error),
        })
    }
}

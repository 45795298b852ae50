//! What Secrets Manager keeps about a database.

use aws_sdk_secretsmanager::error::ProvideErrorMetadata;

use super::Context;
use crate::error::{Error, Result};

/// The secret of that name or ARN. `or`: what it may be other than JSON.
pub async fn text(name: &str, context: &Context, or: &str) -> Result<String> {
    let Some(client) = &context.secrets else {
        return Err(Error::config(format!("secret {name:?}: there is no Secrets Manager here, use url")));
    };
    match client.get_secret_value().secret_id(name).send().await {
        Ok(answer) => answer
            .secret_string
            .ok_or_else(|| Error::config(format!("secret {name:?} is binary, expected JSON or {or}"))),
        Err(error) => {
            let error = error.into_service_error();
            Err(match error.code() {
                Some("ResourceNotFoundException") => {
                    Error::config(format!("secret {name:?}: Secrets Manager has no such secret in this region"))
                }
                Some("AccessDeniedException") => Error::config(format!(
                    "secret {name:?}: this function may not read it, allow secretsmanager:GetSecretValue (and \
                     kms:Decrypt, if it has a key of its own)"
                )),
                _ => Error::unavailable(format!("secret {name:?}: Secrets Manager did not give it, run export again"))
                    .caused_by(error),
            })
        }
    }
}

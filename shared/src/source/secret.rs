//! Reads connection details of a database from Secrets Manager.

use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use serde_json::{Map, Value};

use super::Context;
use crate::error::{Error, Result};

/// Returns the text of the secret with that name or ARN. `or` names the accepted format besides JSON, for error
/// messages.
pub async fn text(name: &str, context: &Context, or: &str) -> Result<String> {
    let Some(client) = &context.secrets else {
        return Err(Error::config(format!("secret {name:?}: no Secrets Manager client is configured here, use url")));
    };
    match client.get_secret_value().secret_id(name).send().await {
        Ok(answer) => answer
            .secret_string
            .ok_or_else(|| Error::config(format!("secret {name:?} is binary: expected JSON or {or}"))),
        Err(error) => {
            let error = error.into_service_error();
            Err(match error.code() {
                Some("ResourceNotFoundException") => Error::config(format!(
                    "secret {name:?}: not found in Secrets Manager in this region: check the name or ARN"
                )),
                Some("AccessDeniedException") => Error::config(format!(
                    "secret {name:?}: access denied: allow secretsmanager:GetSecretValue (and kms:Decrypt, if the \
                     secret has its own KMS key)"
                )),
                _ => {
                    Error::unavailable(format!("secret {name:?}: the request to Secrets Manager failed: run it again"))
                        .caused_by(error)
                }
            })
        }
    }
}

/// The JSON of a secret in the format that RDS writes. Only some of its keys are read.
pub struct Keys<'a> {
    keys: Map<String, Value>,
    /// Names the secret in error messages.
    given_by: &'a str,
}

impl<'a> Keys<'a> {
    /// Parses the JSON. `or` names the accepted format besides JSON, for error messages.
    pub fn parse(text: &str, given_by: &'a str, or: &str) -> Result<Keys<'a>> {
        let malformed =
            |_| Error::config(format!("{given_by}: expected JSON with username, password and host, or {or}"));
        Ok(Keys { keys: serde_json::from_str(text).map_err(malformed)?, given_by })
    }

    /// Returns the value of a key; `None` if it is absent or null.
    pub fn text(&self, key: &str) -> Result<Option<String>> {
        match self.keys.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(Error::config(format!("{}: {key} must be a non-empty string", self.given_by))),
        }
    }

    /// Returns the value of a required key. `further` lists the optional keys of this kind of database, for error
    /// messages.
    pub fn needed(&self, key: &str, further: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| {
            Error::config(format!(
                "{} has no key {key:?}: expected username, password, host and, optionally, port, dbname, {further}",
                self.given_by
            ))
        })
    }

    /// Returns the port as a number, which the JSON may hold as text, or else `default`.
    pub fn port(&self, default: u16) -> Result<u16> {
        let port = match self.keys.get("port") {
            None | Some(Value::Null) => Some(default),
            Some(Value::String(text)) => text.parse().ok(),
            Some(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        };
        port.ok_or_else(|| Error::config(format!("{}: port must be a number from 0 to 65535", self.given_by)))
    }
}

//! Reads a database's connection details from Secrets Manager.

use serde_json::{Map, Value};
use turntable_core::error::{Error, Result};

use crate::context::Context;

/// Returns the text of the secret with this name or ARN. `or` names the accepted format besides JSON, for error
/// messages.
pub async fn text(name: &str, context: &Context, or: &str) -> Result<String> {
    let Some(secrets) = &context.secrets else {
        return Err(Error::config(format!("secret {name:?}: no Secrets Manager client is configured here: use url")));
    };
    let text = secrets.text(name).await?;
    text.ok_or_else(|| Error::config(format!("secret {name:?} is binary: expected JSON or {or}")))
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

    /// Returns the port, which the JSON may contain as a number or a string, or `default` if it is absent or null.
    pub fn port(&self, default: u16) -> Result<u16> {
        let port = match self.keys.get("port") {
            None | Some(Value::Null) => Some(default),
            Some(Value::String(text)) => text.parse().ok(),
            Some(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        };
        port.ok_or_else(|| Error::config(format!("{}: port must be a number from 0 to 65535", self.given_by)))
    }
}

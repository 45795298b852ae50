//! Reads a database's connection details from Secrets Manager.

use serde_json::{Map, Value};
use turntable_core::error::{Error, Result};

use crate::context::Context;

/// Returns the text of the secret with this name or ARN. `or` names the format that is accepted besides JSON, for error
/// messages.
pub async fn text(name: &str, context: &Context, or: &str) -> Result<String> {
    let Some(secrets) = &context.secrets else {
        return Err(Error::config(format!(
            "secret {name:?} can't be read, because no Secrets Manager client is configured: set url instead of secret"
        )));
    };
    let text = secrets.text(name).await?;
    text.ok_or_else(|| {
        Error::config(format!("secret {name:?} is binary: store its value as text, either JSON or {or}"))
    })
}

/// The keys in a secret's JSON, in the format that RDS writes. Keys that Turntable doesn't need are ignored.
pub struct Keys<'a> {
    keys: Map<String, Value>,
    /// The origin of the secret, for error messages.
    given_by: &'a str,
}

impl<'a> Keys<'a> {
    /// Parses the JSON. `or` names the format that is accepted besides JSON, for error messages.
    pub fn parse(text: &str, given_by: &'a str, or: &str) -> Result<Keys<'a>> {
        let malformed =
            |_| Error::config(format!("{given_by}: expected JSON with username, password and host, or {or}"));
        Ok(Keys { keys: serde_json::from_str(text).map_err(malformed)?, given_by })
    }

    /// Returns the text of a key, or `None` if the key is absent or null. Fails if the value is not a string or is
    /// empty.
    pub fn text(&self, key: &str) -> Result<Option<String>> {
        match self.keys.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(Error::config(format!("{}: {key} must be a non-empty string", self.given_by))),
        }
    }

    /// Returns the text of a required key. `further` lists the keys that only this kind of database has, for error
    /// messages.
    pub fn needed(&self, key: &str, further: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| {
            Error::config(format!(
                "{} has no key {key:?}: expected username, password, host and, optionally, port, dbname, {further}",
                self.given_by
            ))
        })
    }

    /// Returns the port, which may be a number or a string in the JSON, or `default` if it is absent or null.
    pub fn port(&self, default: u16) -> Result<u16> {
        let port = match self.keys.get("port") {
            None | Some(Value::Null) => Some(default),
            Some(Value::String(text)) => text.parse().ok(),
            Some(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        };
        port.ok_or_else(|| Error::config(format!("{}: port must be a number from 0 to 65535", self.given_by)))
    }
}

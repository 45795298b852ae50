//! What Secrets Manager keeps about a database.

use serde_json::{Map, Value};
use turntable_core::error::{Error, Result};

use crate::context::Context;

/// Returns the secret of that name or ARN. `or` says what it may be other than JSON.
pub async fn text(name: &str, context: &Context, or: &str) -> Result<String> {
    let Some(secrets) = &context.secrets else {
        return Err(Error::config(format!("secret {name:?}: there is no Secrets Manager here, use url")));
    };
    let text = secrets.text(name).await?;
    text.ok_or_else(|| Error::config(format!("secret {name:?} is binary, expected JSON or {or}")))
}

/// The JSON that RDS writes, of which only some keys are read.
pub struct Keys<'a> {
    keys: Map<String, Value>,
    /// For messages.
    given_by: &'a str,
}

impl<'a> Keys<'a> {
    /// `or`: what the text may be other than JSON.
    pub fn parse(text: &str, given_by: &'a str, or: &str) -> Result<Keys<'a>> {
        let shape = |_| Error::config(format!("{given_by}: expected JSON with username, password and host, or {or}"));
        Ok(Keys { keys: serde_json::from_str(text).map_err(shape)?, given_by })
    }

    /// `None` where it is absent or null.
    pub fn text(&self, key: &str) -> Result<Option<String>> {
        match self.keys.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(Error::config(format!("{}: {key} is no text, or empty", self.given_by))),
        }
    }

    /// `further`: the keys that there may be besides those of every database.
    pub fn needed(&self, key: &str, further: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| {
            Error::config(format!(
                "{} has no key {key:?}, expected username, password, host and, where wanted, port, dbname, {further}",
                self.given_by
            ))
        })
    }

    pub fn port(&self, usual: u16) -> Result<u16> {
        let port = match self.keys.get("port") {
            None | Some(Value::Null) => Some(usual),
            Some(Value::String(text)) => text.parse().ok(),
            Some(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        };
        port.ok_or_else(|| Error::config(format!("{}: port is no number from 0 to 65535", self.given_by)))
    }
}

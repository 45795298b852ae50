//! Reads a database's connection details from Secrets Manager.

use serde_json::{Map, Value};
use turntable_core::{
    config::Secret,
    error::{Error, Result},
};

use crate::context::Context;

/// Returns the text of a secret, with the keys that the dataset adds to it. `or` names the accepted format other than
/// JSON, for error messages.
pub async fn text(secret: &Secret, context: &Context, or: &str) -> Result<String> {
    let name = &secret.name;
    let Some(secrets) = &context.secrets else {
        return Err(Error::config(format!(
            "secret {name:?} can't be read, because no Secrets Manager client is configured: set url instead of secret"
        )));
    };
    let text = secrets.text(name).await?;
    let text = text.ok_or_else(|| {
        Error::config(format!("secret {name:?} is binary: store its value as text, either JSON or {or}"))
    })?;
    completed(secret, text)
}

/// Adds the dataset's keys to a secret's JSON. Fails if the secret is a URL, or if it has another value for one of the
/// keys, because one of the two values must be wrong.
fn completed(secret: &Secret, text: String) -> Result<String> {
    let (name, Some((first, _))) = (&secret.name, secret.beside.first()) else { return Ok(text) };
    let Ok(mut keys) = serde_json::from_str::<Map<String, Value>>(&text) else {
        return Err(Error::config(format!(
            "secret {name:?} is not JSON, so {first} can't be added to it: remove {first} from the source, or store JSON \
             with username and password"
        )));
    };
    for (key, value) in &secret.beside {
        let in_secret = match keys.get(*key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        if in_secret.is_some_and(|found| found != *value) {
            return Err(Error::config(format!(
                "secret {name:?} has another {key} than the source: remove {key} from the source, or correct it"
            )));
        }
        keys.insert((*key).to_owned(), Value::String(value.clone()));
    }
    Ok(Value::Object(keys).to_string())
}

/// The keys in a secret's JSON, in the format that RDS writes. Keys that Turntable doesn't need are ignored.
pub struct Keys<'a> {
    keys: Map<String, Value>,
    /// The origin of the secret, for error messages.
    given_by: &'a str,
}

impl<'a> Keys<'a> {
    /// Parses the JSON. `or` names the accepted format other than JSON, for error messages.
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
                "{} has no key {key:?}: expected username, password, host and, optionally, port, dbname, {further}{}",
                self.given_by,
                if key == "host" { "; a secret that RDS manages has no host: set host beside secret" } else { "" }
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

#[cfg(test)]
mod tests {
    use super::*;
    use turntable_core::error::Kind;

    const MANAGED: &str = r#"{"username":"app","password":"hunter2"}"#;

    fn of(beside: &[(&'static str, &str)], text: &str) -> Result<String> {
        let beside = beside.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        completed(&Secret { name: "rds".into(), beside }, text.to_owned())
    }

    #[test]
    fn the_source_completes_what_rds_leaves_out() {
        let beside = [("host", "db.example"), ("port", "3307"), ("dbname", "shop"), ("ssl-mode", "REQUIRED")];
        let text = of(&beside, MANAGED).unwrap();
        let keys = Keys::parse(&text, "x", "a URL").unwrap();
        assert_eq!((keys.text("host").unwrap().as_deref(), keys.port(1).unwrap()), (Some("db.example"), 3307));
        assert_eq!(keys.text("dbname").unwrap().as_deref(), Some("shop"));
        assert_eq!(keys.text("password").unwrap().as_deref(), Some("hunter2"));
        // Without such keys, the text stays as it is.
        assert_eq!(of(&[], " mysql://u:p@h/d\n").unwrap(), " mysql://u:p@h/d\n");
    }

    #[test]
    fn two_values_for_one_key_must_agree() {
        let full = r#"{"username":"app","password":"hunter2","host":"a","port":3306,"dbname":null}"#;
        assert!(of(&[("host", "a"), ("port", "3306"), ("dbname", "d")], full).is_ok());
        for (beside, text, expected) in [
            (
                [("host", "b")],
                full,
                "secret \"rds\" has another host than the source: remove host from the source, or correct it",
            ),
            (
                [("port", "3307")],
                full,
                "secret \"rds\" has another port than the source: remove port from the source, or correct it",
            ),
            (
                [("host", "b")],
                "mysql://u:hunter2@h/d",
                "secret \"rds\" is not JSON, so host can't be added to it: remove host from the source, or store JSON \
                 with username and password",
            ),
        ] {
            let error = of(&beside, text).unwrap_err();
            assert_eq!((error.report().as_str(), error.kind()), (expected, Kind::Config));
        }
    }
}

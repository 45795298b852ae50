//! Invokes Lambda functions, and reads their settings. The API reference describes the requests and the responses:
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html>.

use std::fmt;

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::signed::{Body, Response, Service, Signed};

pub const SERVICE: Service = Service { name: "Lambda", host: "lambda", endpoint: "AWS_ENDPOINT_URL_LAMBDA" };

/// A Lambda client for one account and region.
#[derive(Clone)]
pub struct Lambda(Signed);

/// The error that a function returned.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionError {
    pub error_type: String,
    pub error_message: String,
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.error_message)
    }
}

impl std::error::Error for FunctionError {}

impl Lambda {
    /// Returns a client for the configuration's account and region. Fails without a region or credentials.
    pub fn new(config: &SdkConfig) -> Result<Lambda> {
        Ok(Lambda(Signed::new(config, SERVICE)?))
    }

    /// Invokes a function and waits for its result. The outer error means that the invocation failed; the inner one is
    /// the error that the function returned.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Result<Value, FunctionError>> {
        self.invoke_alias(function, None, event).await
    }

    /// Invokes a function as [`Lambda::invoke`] does, by one of its aliases if `alias` is given.
    pub async fn invoke_alias(
        &self,
        function: &str,
        alias: Option<&str>,
        event: &Value,
    ) -> Result<Result<Value, FunctionError>> {
        let sent = async {
            let mut path = format!("/2015-03-31/functions/{}/invocations", named(function)?);
            if let Some(alias) = alias {
                path += &format!("?Qualifier={}", named(alias)?);
            }
            self.0.send("POST", &path, Body::json(event.to_string().into_bytes())).await
        };
        let response = sent.await.with_context(|| format!("cannot invoke {function}"))?;
        let invalid = || format!("{function} returned a result that is not JSON");
        Ok(match response.is_function_error {
            true => Err(serde_json::from_slice(&response.payload).with_context(invalid)?),
            false => Ok(serde_json::from_slice(&response.payload).with_context(invalid)?),
        })
    }

    /// Reads settings with a GET request. `path` is the operation's path, such as `/2016-08-19/account-settings/`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.0.send("GET", path, Body::default()).await?;
        serde_json::from_slice(&response.payload)
            .with_context(|| format!("Lambda's response to {path} is not as documented"))
    }

    /// Sends a GET request and returns the whole response.
    pub async fn response(&self, path: &str) -> Result<Response> {
        self.0.send("GET", path, Body::default()).await
    }
}

/// Returns the path that reads a function's settings.
pub fn configuration(function: &str) -> Result<String> {
    Ok(format!("/2015-03-31/functions/{}/configuration", named(function)?))
}

/// Returns `function` if it is a name that is safe in a path.
pub fn named(function: &str) -> Result<&str> {
    if function.is_empty() || !function.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        bail!("a function name can only have letters, digits, - and _");
    }
    Ok(function)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn invalid_function_name_is_refused() {
        assert!(named("../2015-03-31/functions").is_err());
        assert!(named("").is_err());
        assert_eq!(named("turntable-flip").unwrap(), "turntable-flip");
    }
}

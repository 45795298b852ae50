//! Invokes Lambda functions.
//!
//! The only call is one signed HTTP request, which doesn't need Lambda's SDK crate. The SDK's runtime sends it with the
//! usual TLS, timeouts and retries. The API reference describes the request and the response:
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.

use std::{fmt, time::SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_types::{
    body::SdkBody, error::display::DisplayErrorContext, retry::RetryConfig, timeout::TimeoutConfig,
};
use serde::Deserialize;
use serde_json::Value;

/// The HTTP status codes after which the request is sent again: throttling, and the server errors that the SDKs retry.
const RETRIED_CODES: &[u16] = &[429, 500, 502, 503, 504];

/// A Lambda client for one account and region.
#[derive(Clone)]
pub struct Lambda {
    endpoint: String,
    region: String,
    credentials: SharedCredentialsProvider,
    operation: Operation<Request, Response, Refused>,
}

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

/// A signed request. Its `Debug` output leaves out the headers, which carry the signature, and the body.
struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "POST {}", self.path)
    }
}

#[derive(Debug)]
struct Response {
    is_function_error: bool,
    payload: Vec<u8>,
}

/// Lambda's refusal of a request. The string holds the response's status and body.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Lambda {
    /// Returns a client for the configuration's endpoint, or if it has none, for the region's public endpoint. It has the
    /// configuration's retries and timeouts. Fails without a region or credentials.
    pub fn new(config: &SdkConfig) -> Result<Lambda> {
        let region = config.region().context("no AWS region is set: set AWS_REGION")?.to_string();
        let credentials = config
            .credentials_provider()
            .context("no AWS credentials are configured: run `aws configure`, or set AWS_PROFILE")?;
        let endpoint = match config.endpoint_url() {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => public_endpoint(&region),
        };
        let retries = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let timeouts = config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
        let operation = Operation::builder()
            .service_name("Lambda")
            .operation_name("Invoke")
            .endpoint_url(&endpoint)
            .no_auth() // The request arrives signed.
            .standard_retry(&retries)
            .timeout_config(timeouts)
            .retry_classifier(HttpStatusCodeClassifier::new_from_codes(RETRIED_CODES))
            .retry_classifier(TransientErrorClassifier::<Refused>::new())
            .serializer(|request: Request| {
                let mut http = HttpRequest::new(SdkBody::from(request.body));
                http.set_method("POST")?;
                http.set_uri(request.path)?;
                for (name, value) in request.headers {
                    http.headers_mut().try_insert(name, value)?;
                }
                Ok(http)
            })
            .deserializer(read)
            .build();
        Ok(Lambda { endpoint, region, credentials, operation })
    }

    /// Invokes a function and waits for its result. The outer error means that the invocation failed; the inner one is
    /// the error that the function returned.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Result<Value, FunctionError>> {
        let request = self.request(function, event).await.with_context(|| format!("cannot invoke {function}"))?;
        let response = self.operation.invoke(request).await;
        let response = response
            .map_err(|error| match error.as_service_error() {
                Some(refused) => anyhow!("{refused}"),
                None => anyhow!("{}", DisplayErrorContext(&error)),
            })
            .with_context(|| format!("cannot invoke {function}"))?;
        let invalid = || format!("{function} returned a result that is not JSON");
        Ok(match response.is_function_error {
            true => Err(serde_json::from_slice(&response.payload).with_context(invalid)?),
            false => Ok(serde_json::from_slice(&response.payload).with_context(invalid)?),
        })
    }

    async fn request(&self, function: &str, event: &Value) -> Result<Request> {
        if function.is_empty() || !function.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            bail!("a function name can only have letters, digits, - and _");
        }
        let (path, body) = (format!("/2015-03-31/functions/{function}/invocations"), event.to_string().into_bytes());
        let credentials = self.credentials.provide_credentials().await.context("cannot load AWS credentials")?;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("lambda")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let url = format!("{}{path}", self.endpoint);
        let signable = SignableRequest::new("POST", &url, std::iter::empty(), SignableBody::Bytes(&body))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        let headers =
            instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>();
        Ok(Request { path, headers, body })
    }
}

fn read(response: &HttpResponse) -> Result<Response, OrchestratorError<Refused>> {
    let payload = response.body().bytes().unwrap_or_default().to_vec();
    if !response.status().is_success() {
        let text = format!("HTTP {}: {}", response.status().as_u16(), String::from_utf8_lossy(&payload));
        return Err(OrchestratorError::operation(Refused(text)));
    }
    Ok(Response { is_function_error: response.headers().contains_key("x-amz-function-error"), payload })
}

/// Returns Lambda's public endpoint in a region. Regions in China have their own domain:
/// <https://docs.aws.amazon.com/general/latest/gr/lambda-service.html>.
fn public_endpoint(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://lambda.{region}.{domain}")
}

#[cfg(test)]
mod tests {
    use crate::aws::{Credentials, config};

    use super::*;

    #[tokio::test]
    async fn request_is_signed_for_lambda() {
        let credentials = Credentials::new("AKID", "secret", Some("token".into()), None, "test");
        let lambda = Lambda::new(&config(credentials, "eu-west-1", None)).unwrap();
        assert_eq!(lambda.endpoint, "https://lambda.eu-west-1.amazonaws.com");
        let request = lambda.request("turntable-flip", &Value::Null).await.unwrap();
        assert_eq!(request.path, "/2015-03-31/functions/turntable-flip/invocations");
        let header =
            |name: &str| request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(header("x-amz-security-token"), Some("token"));
        let authorization = header("authorization").unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{authorization}");
        assert!(authorization.contains("/eu-west-1/lambda/aws4_request, SignedHeaders=host;"), "{authorization}");
    }

    #[tokio::test]
    async fn invalid_function_name_is_refused() {
        let lambda = Lambda::new(&config(Credentials::new("a", "b", None, None, "test"), "cn-north-1", None)).unwrap();
        assert_eq!(lambda.endpoint, "https://lambda.cn-north-1.amazonaws.com.cn");
        assert!(lambda.request("../2015-03-31/functions", &Value::Null).await.is_err());
    }
}

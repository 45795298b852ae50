//! Sends signed requests to AWS services without their SDK crates, which nothing else in this crate needs. The SDK's
//! runtime sends them with the usual TLS, timeouts and retries.

use std::{env, fmt, time::SystemTime};

use anyhow::{Context, Result, anyhow};
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

/// The HTTP status codes that are retried: throttling, and the server errors that the SDKs retry.
const RETRIED_CODES: &[u16] = &[429, 500, 502, 503, 504];

/// An AWS service.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The name that messages use.
    pub name: &'static str,
    /// The first part of the endpoint's host name. Signatures contain the same name.
    pub host: &'static str,
    /// The environment variable that overrides the service's endpoint.
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
    pub endpoint: &'static str,
}

/// A client for one service, account and region.
#[derive(Clone)]
pub struct Signed {
    service: Service,
    endpoint: String,
    region: String,
    credentials: SharedCredentialsProvider,
    operation: Operation<Request, Response, Refused>,
}

/// A signed request. Its `Debug` output leaves out the headers, which carry the signature, and the body.
struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Body,
}

/// The body of a request.
#[derive(Debug, Clone, Default)]
pub struct Body {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

impl Body {
    pub fn json(bytes: Vec<u8>) -> Body {
        Body { content_type: "application/json", bytes }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A successful response.
#[derive(Debug)]
pub struct Response {
    /// Whether Lambda reported that the function failed.
    pub is_function_error: bool,
    /// The service's clock, from the header `Date`.
    pub date: Option<String>,
    pub payload: Vec<u8>,
}

/// A response with an error status.
#[derive(Debug, Clone)]
pub struct Refused {
    pub status: u16,
    /// The service's clock, from the header `Date`.
    pub date: Option<String>,
    pub text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}: {}", self.status, self.text)
    }
}

impl std::error::Error for Refused {}

impl Signed {
    /// Returns a client with the configuration's retries and timeouts. Its endpoint is the first of these that is set:
    /// the service's endpoint in the environment, the configuration's endpoint, or the region's public one. Fails
    /// without a region or credentials.
    pub fn new(config: &SdkConfig, service: Service) -> Result<Signed> {
        let region = config.region().context("no AWS region is set: set AWS_REGION")?.to_string();
        let credentials = config
            .credentials_provider()
            .context("no AWS credentials are configured: run `aws configure`, or set AWS_PROFILE")?;
        // A configuration that this program builds must ignore the environment. Only a loaded one has an origin.
        let own = config.service_config().and_then(|_| env::var(service.endpoint).ok()).filter(|own| !own.is_empty());
        let endpoint = match own.as_deref().or(config.endpoint_url()) {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => public_endpoint(service.host, &region, config.use_fips() == Some(true)),
        };
        let retries = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let timeouts = config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
        let operation = Operation::builder()
            .service_name(service.name)
            .operation_name("Request")
            .endpoint_url(&endpoint)
            .no_auth() // The request is already signed.
            .standard_retry(&retries)
            .timeout_config(timeouts)
            .retry_classifier(HttpStatusCodeClassifier::new_from_codes(RETRIED_CODES))
            .retry_classifier(TransientErrorClassifier::<Refused>::new())
            .serializer(|request: Request| {
                let Body { content_type, bytes } = request.body;
                let mut http = HttpRequest::new(SdkBody::from(bytes));
                http.set_method(request.method)?;
                http.set_uri(request.path)?;
                if !http.body().bytes().is_none_or(<[u8]>::is_empty) {
                    http.headers_mut().try_insert("content-type", content_type)?;
                }
                for (name, value) in request.headers {
                    http.headers_mut().try_insert(name, value)?;
                }
                Ok(http)
            })
            .deserializer(read)
            .build();
        Ok(Signed { service, endpoint, region, credentials, operation })
    }

    /// Sends a request. `path` must not contain characters that need encoding. If the service refuses the request, the
    /// error's source is a [`Refused`].
    pub async fn send(&self, method: &'static str, path: &str, body: Body) -> Result<Response> {
        let request = self.request(method, path, body).await?;
        self.operation.invoke(request).await.map_err(|error| match error.as_service_error() {
            Some(refused) => anyhow!(refused.clone()),
            None => anyhow!("{}", DisplayErrorContext(&error)),
        })
    }

    async fn request(&self, method: &'static str, path: &str, body: Body) -> Result<Request> {
        let credentials = self.credentials.provide_credentials().await.context("cannot load AWS credentials")?;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.host)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let url = format!("{}{path}", self.endpoint);
        let signable = SignableRequest::new(method, &url, std::iter::empty(), SignableBody::Bytes(&body.bytes))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        let headers = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Request { method, path: path.to_owned(), headers, body })
    }
}

fn read(response: &HttpResponse) -> Result<Response, OrchestratorError<Refused>> {
    let payload = response.body().bytes().unwrap_or_default().to_vec();
    let date = response.headers().get("date").map(str::to_owned);
    if !response.status().is_success() {
        let text = String::from_utf8_lossy(&payload).into_owned();
        return Err(OrchestratorError::operation(Refused { status: response.status().as_u16(), date, text }));
    }
    Ok(Response { is_function_error: response.headers().contains_key("x-amz-function-error"), date, payload })
}

/// Returns a service's public endpoint in a region. Regions in China have their own domain:
/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>.
fn public_endpoint(host: &str, region: &str, fips: bool) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let fips = if fips { "-fips" } else { "" };
    format!("https://{host}{fips}.{region}.{domain}")
}

#[cfg(test)]
mod tests {
    use crate::{
        aws::{Credentials, config},
        lambda::SERVICE,
    };

    use super::*;

    #[tokio::test]
    async fn request_is_signed_for_its_service() {
        let credentials = Credentials::new("AKID", "secret", Some("token".into()), None, "test");
        let lambda = Signed::new(&config(credentials, "eu-west-1", None), SERVICE).unwrap();
        assert_eq!(lambda.endpoint, "https://lambda.eu-west-1.amazonaws.com");
        let request = lambda.request("GET", "/2016-08-19/account-settings/", Body::default()).await.unwrap();
        assert_eq!(request.path, "/2016-08-19/account-settings/");
        let header =
            |name: &str| request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(header("x-amz-security-token"), Some("token"));
        let authorization = header("authorization").unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{authorization}");
        assert!(authorization.contains("/eu-west-1/lambda/aws4_request, SignedHeaders=host;"), "{authorization}");
    }

    #[test]
    fn endpoints_follow_the_region_and_fips() {
        assert_eq!(public_endpoint("lambda", "cn-north-1", false), "https://lambda.cn-north-1.amazonaws.com.cn");
        assert_eq!(
            public_endpoint("lakeformation", "us-gov-west-1", true),
            "https://lakeformation-fips.us-gov-west-1.amazonaws.com"
        );
    }
}

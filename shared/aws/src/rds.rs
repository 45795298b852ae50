//! Signs the tokens that RDS and Aurora accept as passwords when IAM authentication is enabled.
//!
//! A token is the presigned URL of a `connect` request, without its scheme. It can open connections for 15 minutes, and
//! connections stay open when it expires ("IAM database authentication", Amazon RDS User Guide). Signing calls only the
//! credentials provider. A test compares a signature with one from the SDK's own signer, but no token has been tried on
//! RDS.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use jiff::Timestamp;
use turntable_core::{
    error::{Error, Result},
    port::TokenSigner,
    rds::region,
};

/// How long a token can be used to open connections.
const VALID: Duration = Duration::from_secs(900);

/// Signs tokens. `region` is used for servers whose host names contain no region.
#[derive(Debug, Clone)]
pub struct Signer {
    pub credentials: SharedCredentialsProvider,
    pub region: String,
}

impl Signer {
    /// Creates a signer from the configuration, or returns `None` if the configuration has no credentials provider or
    /// no region.
    pub fn new(aws: &SdkConfig) -> Option<Signer> {
        Some(Signer { credentials: aws.credentials_provider()?, region: aws.region()?.to_string() })
    }
}

#[async_trait]
impl TokenSigner for Signer {
    async fn token(&self, host: &str, port: u16, user: &str, now: Timestamp) -> Result<String> {
        let failed = |why: &str| {
            Error::unavailable(format!("can't create an IAM token for user {user:?} at {host}:{port}: {why}"))
        };
        let credentials = self.credentials.provide_credentials().await;
        let identity = credentials
            .map_err(|error| failed("no AWS credentials could be loaded: try again").caused_by(error))?
            .into();
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(VALID);
        settings.signature_location = SignatureLocation::QueryParams;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region(host).unwrap_or(&self.region))
            .name("rds-db")
            .time(SystemTime::from(now))
            .settings(settings)
            .build()
            .map_err(|error| failed("it could not be signed: this is a bug, please report it").caused_by(error))?
            .into();
        let request = format!("{host}:{port}/?Action=connect&DBUser={}", escaped(user));
        let url = format!("https://{request}");
        let signed = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::empty())
            .and_then(|request| sign(request, &parameters))
            .map_err(|error| failed("it could not be signed: this is a bug, please report it").caused_by(error))?;
        let (_, signature) = signed.into_parts().0.into_parts();
        let pair = |(name, value): &(&str, std::borrow::Cow<str>)| format!("&{name}={}", escaped(value));
        Ok(request + &signature.iter().map(pair).collect::<String>())
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters, for use in a URL's query.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    const HOST: &str = "prod-instance.us-east-1.rds.amazonaws.com";

    async fn token(host: &str, user: &str, session: Option<&str>) -> String {
        let credentials = Credentials::new("akid", "secret", session.map(str::to_owned), None, "test");
        let signer =
            Signer { credentials: SharedCredentialsProvider::new(credentials), region: "eu-central-1".to_owned() };
        signer.token(host, 3306, user, Timestamp::from_second(1_724_709_600).unwrap()).await.unwrap()
    }

    /// The input and the expected token come from a test in aws-sdk-rds (`src/auth_token.rs`, version 1.135.0).
    #[tokio::test]
    async fn token_equals_the_one_of_the_sdk() {
        assert_eq!(
            token(HOST, "peccy", None).await,
            "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=peccy&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20240826T220000Z\
             &X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89"
        );
    }

    #[tokio::test]
    async fn token_contains_user_region_and_session() {
        let with_session = token(HOST, "a b@x", Some("s+/=")).await;
        assert!(with_session.contains("DBUser=a%20b%40x&"), "{with_session}");
        assert!(with_session.contains("&X-Amz-Security-Token=s%2B%2F%3D"), "{with_session}");
        assert!(token("db.internal", "peccy", None).await.contains("%2Feu-central-1%2Frds-db"));
    }
}

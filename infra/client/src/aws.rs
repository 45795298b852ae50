//! Builds SDK configurations.

use std::time::Duration;

pub use aws_config::{Region, SdkConfig};
pub use aws_credential_types::Credentials;

use aws_config::{BehaviorVersion, timeout::TimeoutConfig};
use aws_credential_types::provider::SharedCredentialsProvider;

/// How long to wait for a response. A function runs for up to 15 minutes before it answers.
const READ_TIMEOUT: Duration = Duration::from_secs(910);

/// Loads the configuration that the user's environment and the files of the AWS CLI define. A given profile or region
/// comes first.
pub async fn loaded(profile: Option<&str>, region: Option<&str>) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(3)).read_timeout(READ_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(turntable::lambda::retries())
        .timeout_config(timeouts);
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    loader.load().await
}

/// Returns the configuration for an emulator at `endpoint`, or for AWS if there is no `endpoint`. It has only the given
/// values: nothing comes from the user's environment.
pub fn config(credentials: Credentials, region: &str, endpoint: Option<&str>) -> SdkConfig {
    let builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    match endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint).build(),
        None => builder.build(),
    }
}

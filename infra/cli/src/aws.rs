//! Builds SDK configurations from the given values only. Nothing is read from the user's environment.

pub use aws_config::{Region, SdkConfig};
pub use aws_credential_types::Credentials;

use aws_config::BehaviorVersion;
use aws_credential_types::provider::SharedCredentialsProvider;

/// Returns the configuration for an emulator at `endpoint`, or for AWS if there is no `endpoint`.
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

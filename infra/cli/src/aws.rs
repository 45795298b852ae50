//! SDK configurations made only from the given values: nothing is read from the user's environment.

pub use aws_config::{Region, SdkConfig};
pub use aws_credential_types::Credentials;

use aws_config::BehaviorVersion;
use aws_credential_types::provider::SharedCredentialsProvider;

/// Returns the configuration for an emulator at `endpoint`, or for AWS without one.
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

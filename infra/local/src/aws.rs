//! How to reach an AWS: only by what is said here, never by what the user's environment says.

pub use aws_config::{Region, SdkConfig};
pub use aws_sdk_s3::config::Credentials;

use aws_config::BehaviorVersion;
use aws_sdk_s3::config::SharedCredentialsProvider;

/// `endpoint` is an emulator's; without one it is AWS.
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

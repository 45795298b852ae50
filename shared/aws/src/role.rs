//! Assumes a role.

use aws_config::{SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::provider::SharedCredentialsProvider;

/// Returns the configuration with the credentials of a role, which the configuration's own credentials assume. The role
/// is assumed when a client first needs it, and again before its credentials expire.
pub async fn assume(config: &SdkConfig, role: &str) -> SdkConfig {
    let provider = AssumeRoleProvider::builder(role).session_name("turntable-checks").configure(config);
    let provider = match config.credentials_provider() {
        Some(own) => provider.build_from_provider(own).await,
        None => provider.build().await,
    };
    config.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

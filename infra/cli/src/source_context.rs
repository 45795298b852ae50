//! What reading a dataset's source takes on this machine.

use std::sync::Arc;

use turntable::{
    aws::{rds::Signer, s3::S3, secrets::SecretsManager},
    clock::Clock,
    config::Dataset,
    sources::Context,
};

use crate::aws::SdkConfig;

/// Returns the context for reading a dataset's source with these credentials.
pub fn of(dataset: &Dataset, aws: &SdkConfig) -> Context {
    Context {
        objects: Arc::new(S3::new(aws)),
        secrets: Some(Arc::new(SecretsManager::new(aws))),
        iam: Signer::new(aws).map(|signer| Arc::new(signer) as _),
        now: Clock::system().now(),
        table: dataset.table.clone(),
        on_unrepresentable: dataset.on_unrepresentable,
        copies: None,
    }
}

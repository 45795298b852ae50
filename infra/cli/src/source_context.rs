//! Builds the context for reading a dataset's source from this machine.

use std::sync::Arc;

use turntable::{
    aws::{rds::Signer, s3::S3, secrets::SecretsManager},
    clock::Clock,
    config::Dataset,
    port::{Objects, Secrets, TokenSigner},
    sources::Context,
};

use crate::aws::SdkConfig;

/// The clients that read the sources.
pub struct Clients {
    pub objects: Arc<dyn Objects>,
    pub secrets: Arc<dyn Secrets>,
    /// Signs IAM tokens. `None` if there are no credentials.
    pub iam: Option<Arc<dyn TokenSigner>>,
}

impl Clients {
    pub fn new(aws: &SdkConfig) -> Clients {
        Clients {
            objects: Arc::new(S3::new(aws)),
            secrets: Arc::new(SecretsManager::new(aws)),
            iam: Signer::new(aws).map(|signer| Arc::new(signer) as _),
        }
    }
}

/// Returns the context for reading a dataset's source with these clients.
pub fn of(dataset: &Dataset, clients: &Clients) -> Context {
    Context {
        objects: clients.objects.clone(),
        secrets: Some(clients.secrets.clone()),
        iam: clients.iam.clone(),
        now: Clock::system().now(),
        table: dataset.table.clone(),
        on_unrepresentable: dataset.on_unrepresentable,
        copies: None,
    }
}

//! The clients and settings for `export`.

use std::sync::Arc;

use turntable_core::{
    config::Dataset,
    port::{Engine, Queue, Secrets, TokenSigner},
};
use turntable_sources::{Context, Copies};

use crate::{deadline::Deadline, environment::Environment};

/// The environment, the clients and the deadline for `export`.
#[derive(Clone)]
pub struct Export {
    pub env: Environment,
    /// The queue to which a request for several datasets sends one message per dataset.
    pub queue: Arc<dyn Queue>,
    pub engine: Arc<dyn Engine>,
    pub secrets: Option<Arc<dyn Secrets>>,
    /// When the invocation must stop by itself. `None` means no limit.
    pub deadline: Option<Deadline>,
    pub iam: Option<Arc<dyn TokenSigner>>,
}

impl Export {
    /// Returns the context for opening the dataset's source.
    pub(super) fn context(&self, dataset: &Dataset) -> Context {
        Context {
            objects: self.env.objects.clone(),
            secrets: self.secrets.clone(),
            iam: self.iam.clone(),
            now: self.env.clock.now(),
            table: dataset.table.clone(),
            on_unrepresentable: dataset.on_unrepresentable,
            // A file that is copied unchanged keeps all its columns, so a partitioned dataset can't copy files.
            copies: dataset.partition_by.is_empty().then(|| Copies {
                sizes: dataset.parquet,
                not_null: dataset.checks.not_null.clone(),
                range: dataset.checks.range.iter().map(|(name, _)| name.clone()).collect(),
            }),
        }
    }
}

//! What a refresh is asked for.

use std::sync::Arc;

use turntable_core::port::{Secrets, TokenSigner};

/// The options of a refresh.
#[derive(Clone, Default)]
pub struct RefreshOptions {
    /// End as waiting if live is younger than the dataset's `min_interval`.
    pub patient: bool,
    /// Also merge all records of the dataset's `reconcile` source.
    pub reconcile: bool,
    /// The secrets for the source to reconcile with.
    pub secrets: Option<Arc<dyn Secrets>>,
    pub iam: Option<Arc<dyn TokenSigner>>,
}

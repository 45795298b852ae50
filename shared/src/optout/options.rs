//! What a refresh is asked for.

use std::sync::Arc;

use turntable_core::port::{Secrets, TokenSigner};
use turntable_sources::inbox::ENOUGH;

/// The options of a refresh.
#[derive(Clone)]
pub struct RefreshOptions {
    /// End as waiting if live is younger than the dataset's `min_interval`.
    pub patient: bool,
    /// Also merge all records of the dataset's `reconcile` source.
    pub reconcile: bool,
    /// The number of records, approximately, after which a refresh leaves the remaining drops for its next attempt.
    pub max_records: usize,
    /// The secrets for the source to reconcile with.
    pub secrets: Option<Arc<dyn Secrets>>,
    pub iam: Option<Arc<dyn TokenSigner>>,
}

impl Default for RefreshOptions {
    fn default() -> Self {
        RefreshOptions { patient: false, reconcile: false, max_records: ENOUGH, secrets: None, iam: None }
    }
}

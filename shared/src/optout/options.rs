//! The options for a refresh.

use std::sync::Arc;

use jiff::SignedDuration;
use turntable_core::port::{Secrets, TokenSigner};
use turntable_sources::inbox::ENOUGH;

/// The options for a refresh.
#[derive(Clone)]
pub struct RefreshOptions {
    /// Whether to stop with the outcome `Waiting` if the live generation is younger than the dataset's `min_interval`.
    pub patient: bool,
    /// Whether to compare the live generation's objects with its manifest, and to replace the generation if they
    /// differ. A refresh for queue messages doesn't do this, so that drops never wait for it.
    pub verify: bool,
    /// Whether to also merge all records from the dataset's `reconcile` source.
    pub reconcile: bool,
    /// The approximate number of records after which a round of the refresh leaves the remaining drops for the next
    /// round.
    pub max_records: u64,
    /// The time limit for the part of the refresh that depends on the number and the size of the drops. `None` means no
    /// limit.
    pub time: Option<SignedDuration>,
    /// The number of people whom an operator allows this refresh to opt back in. It overrides the inbox's
    /// `max_returning`. `None` leaves that limit in force.
    pub max_returning: Option<u64>,
    /// Provides the secrets for the `reconcile` source.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Signs the tokens that are used as passwords for the `reconcile` source.
    pub iam: Option<Arc<dyn TokenSigner>>,
}

impl Default for RefreshOptions {
    fn default() -> Self {
        RefreshOptions {
            patient: false,
            verify: false,
            reconcile: false,
            max_records: ENOUGH,
            time: None,
            max_returning: None,
            secrets: None,
            iam: None,
        }
    }
}

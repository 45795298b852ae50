//! The clients and settings for `optout`.

use std::sync::Arc;

use turntable_core::port::{Secrets, TokenSigner};

use crate::{deadline::Deadline, environment::Environment};

/// The environment, the clients and the deadline for `optout`.
#[derive(Clone)]
pub struct Optout {
    pub env: Environment,
    pub secrets: Option<Arc<dyn Secrets>>,
    pub iam: Option<Arc<dyn TokenSigner>>,
    /// When the invocation must stop by itself. `None` means no limit.
    pub deadline: Option<Deadline>,
}

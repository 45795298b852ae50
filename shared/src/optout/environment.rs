//! The clients and settings of `optout`.

use std::sync::Arc;

use turntable_core::port::{Secrets, TokenSigner};

use crate::{deadline::Deadline, environment::Environment};

/// The environment, the clients and the deadline that `optout` works with.
#[derive(Clone)]
pub struct Optout {
    pub env: Environment,
    pub secrets: Option<Arc<dyn Secrets>>,
    pub iam: Option<Arc<dyn TokenSigner>>,
    /// When the invocation must stop by itself; `None` if there is no limit.
    pub deadline: Option<Deadline>,
}

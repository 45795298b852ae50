//! The `sweep` function: deletes unreachable generations, and reports which ones it keeps and why.

use serde_json::Value;
use turntable::{error::Result, request, sweep};

pub use turntable::sweep::{Limits, Sweep, Swept, all};

/// Handles one invocation.
pub async fn handle(sweep: Sweep, event: Value) -> Result<Swept> {
    let request = request::Sweep::parse(&event)?;
    sweep::carry_out(&sweep, request).await
}

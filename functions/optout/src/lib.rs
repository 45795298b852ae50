//! The `optout` function: merges all unread drops in an inbox into the next generation of the inbox's dataset, and
//! makes that generation live in the same invocation.

use serde_json::Value;
use turntable::{error::Result, optout, request};

pub use turntable::optout::{Answer, Optout};

/// Handles one invocation.
pub async fn handle(optout: Optout, event: Value) -> Result<Answer> {
    let request = request::Optout::parse(&event)?;
    optout::carry_out(&optout, request).await
}

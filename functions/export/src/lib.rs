//! The `export` function: writes a dataset's next generation, manifest last. If an engine writes the files, the
//! function starts the engine run, and settles the run once it has ended. A request for several datasets is queued as
//! one message per dataset.

use serde_json::Value;
use turntable::{error::Result, export, request};

pub use turntable::export::{Answer, Export};

/// Handles one invocation.
pub async fn handle(export: Export, event: Value) -> Result<Answer> {
    let request = request::Export::parse(&event)?;
    export::carry_out(&export, request).await
}

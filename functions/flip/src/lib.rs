//! The `flip` function: audits a candidate and makes it live with one `UpdateTable`, reports or repairs drift, and
//! handles operators' requests for a rollback, a hold, a release or a status.

use serde_json::Value;
use turntable::{
    environment::Environment,
    error::Result,
    flip::{self, Flipped, Response},
    request,
};

/// Handles a request for one dataset, or for the status of all datasets.
pub async fn answer(env: Environment, event: Value) -> Result<Response> {
    match request::is_about_all(&event) {
        true => flip::status_of_all(&env).await.map(Response::All),
        false => handle(env, event).await.map(|flipped| Response::One(Box::new(flipped))),
    }
}

/// Handles a request for one dataset.
pub async fn handle(env: Environment, event: Value) -> Result<Flipped> {
    let request = request::Flip::parse(&event)?;
    flip::carry_out(&env, request).await
}

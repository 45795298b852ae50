//! Runs `UNLOAD` statements in Athena without waiting for them.

use aws_sdk_athena::Client;
use turntable_core::{
    error::Result,
    layout::Generation,
    port::{Progress, RunState},
    unload,
};

use crate::{
    athena::{self, Start},
    fault::fault,
};

pub struct Unloads {
    client: Client,
    output: Option<String>,
}

impl Unloads {
    pub fn new(config: &aws_config::SdkConfig, output: Option<String>) -> Self {
        Unloads { client: Client::new(config), output }
    }

    /// Starts the query and returns its ID. The generation's name, which is unique, is part of the request's token:
    /// another call with the same token and parameters returns the same query. Athena requires a token of at least 32
    /// characters (see `ClientRequestToken` in the reference for `StartQueryExecution`).
    pub async fn start(&self, token: &Generation, workgroup: &str, database: &str, sql: &str) -> Result<String> {
        let token = format!("turntable-{token}");
        let output = self.output.as_deref();
        athena::start(&self.client, Start { workgroup, database, sql, token: Some(&token), output }).await
    }

    /// Returns the progress of a query, or `None` if Athena doesn't know the query.
    pub async fn progress(&self, id: &str) -> Result<Option<Progress>> {
        let sent = self.client.get_query_execution().query_execution_id(id).send().await;
        let execution = match sent {
            Ok(answer) => answer.query_execution,
            // Athena keeps a query for 45 days, and then refuses its ID as invalid.
            Err(error) if error.as_service_error().is_some_and(|error| error.is_invalid_request_exception()) => None,
            Err(error) => return Err(fault("athena:GetQueryExecution", id, error)),
        };
        let Some(execution) = execution else { return Ok(None) };
        let state = match athena::ended(id, &execution, self.output.as_deref()) {
            Ok(true) => RunState::Succeeded,
            Ok(false) => RunState::Running,
            Err(error) => RunState::Failed(error),
        };
        Ok(Some(Progress { location: execution.query().and_then(unload::location), state }))
    }
}

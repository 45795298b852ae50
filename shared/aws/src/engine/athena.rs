//! Runs `UNLOAD` statements in Athena without waiting for them.

use aws_sdk_athena::{
    Client,
    types::{QueryExecutionContext, QueryExecutionState, QueryExecutionStatus, ResultConfiguration},
};
use turntable_core::{
    error::{Error, Result},
    layout::Generation,
    port::{Progress, RunState},
    unload,
};

use crate::{athena, fault::fault};

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
        let output = self.output.as_ref().map(|output| ResultConfiguration::builder().output_location(output).build());
        let sent = self
            .client
            .start_query_execution()
            .query_string(sql)
            .client_request_token(format!("turntable-{token}"))
            .query_execution_context(QueryExecutionContext::builder().database(database).build())
            .work_group(workgroup)
            .set_result_configuration(output)
            .send()
            .await;
        let id = sent.map_err(|error| athena::refused(workgroup, error))?.query_execution_id;
        id.ok_or_else(|| {
            Error::unavailable(format!(
                "athena:StartQueryExecution in workgroup {workgroup:?} returned no query ID: invoke export again"
            ))
        })
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
        let status = execution.status();
        let state = match status.and_then(QueryExecutionStatus::state) {
            Some(QueryExecutionState::Succeeded) => RunState::Succeeded,
            Some(QueryExecutionState::Failed) => RunState::Failed(athena::failed(id, status)),
            Some(QueryExecutionState::Cancelled) => RunState::Failed(athena::cancelled(id)),
            _ => RunState::Running,
        };
        Ok(Some(Progress { location: execution.query().and_then(unload::location), state }))
    }
}

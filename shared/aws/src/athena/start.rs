//! Starts a query in any workgroup, whether or not it lets the caller choose where results go.

use aws_sdk_athena::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::start_query_execution::StartQueryExecutionError,
    types::{QueryExecutionContext, ResultConfiguration, ResultReuseByAgeConfiguration, ResultReuseConfiguration},
};
use turntable_core::error::{Error, Result};

use super::failure::refused;

/// A query to start.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    pub workgroup: &'a str,
    pub database: &'a str,
    pub sql: &'a str,
    /// The idempotency token: starting a query again with the same token returns the same query. If `None`, the SDK
    /// generates one.
    pub token: Option<&'a str>,
    /// The S3 location of the results. `None` leaves the choice to the workgroup.
    pub output: Option<&'a str>,
}

/// Starts the query and returns its ID.
///
/// A workgroup with managed query results refuses a request that names a location. In that case, the request is sent
/// again without a location, and without the setting for result reuse, which managed results don't support either
/// (<https://docs.aws.amazon.com/athena/latest/ug/managed-results.html>).
pub async fn start(client: &Client, query: Start<'_>) -> Result<String> {
    let sent = match (send(client, query, query.output).await, query.output) {
        (Err(error), Some(_)) if is_refused_for_its_output(&error) => send(client, query, None).await,
        (sent, _) => sent,
    };
    let id = sent.map_err(|error| refused(query.workgroup, error))?;
    id.ok_or_else(|| {
        Error::unavailable(format!(
            "athena:StartQueryExecution in workgroup {:?} returned no query ID: invoke the function again",
            query.workgroup
        ))
    })
}

/// Sends the request. Without an `output`, it has no settings for results at all. That is safe, because Athena never
/// reuses results unless a request asks for it. A request with an `output` turns reuse off explicitly.
async fn send(
    client: &Client,
    query: Start<'_>,
    output: Option<&str>,
) -> Result<Option<String>, SdkError<StartQueryExecutionError>> {
    let no_reuse = || {
        ResultReuseConfiguration::builder()
            .result_reuse_by_age_configuration(ResultReuseByAgeConfiguration::builder().enabled(false).build())
            .build()
    };
    let answer = client
        .start_query_execution()
        .query_string(query.sql)
        .set_client_request_token(query.token.map(str::to_owned))
        .query_execution_context(QueryExecutionContext::builder().database(query.database).build())
        .work_group(query.workgroup)
        .set_result_configuration(output.map(|output| ResultConfiguration::builder().output_location(output).build()))
        .set_result_reuse_configuration(output.map(|_| no_reuse()))
        .send()
        .await?;
    Ok(answer.query_execution_id)
}

/// Returns whether Athena refused the request because it names a location. Athena has two messages for this. One
/// mentions the location. The other mentions the token, and comes if an earlier call with this token was refused for
/// its location and then sent again without one.
fn is_refused_for_its_output(error: &SdkError<StartQueryExecutionError>) -> bool {
    // This wording is quoted in opencost #3257, aws-sdk-pandas #3174 and noctua #227: "ManagedQueryResultsConfiguration
    // and ResultConfiguration cannot be set together."
    let message = error.message().unwrap_or_default();
    message.contains("ManagedQueryResultsConfiguration") || message.contains("Idempotent parameters do not match")
}

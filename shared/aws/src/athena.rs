//! The [`Query`] port on Athena.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_athena::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::start_query_execution::StartQueryExecutionError,
    types::{
        AthenaError, QueryExecution, QueryExecutionContext, QueryExecutionState, QueryExecutionStatus,
        ResultConfiguration, ResultReuseByAgeConfiguration, ResultReuseConfiguration, ResultSet,
    },
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{sleep, timeout};
use turntable_core::{
    error::{Error, Result},
    port::{Answered, Query},
};

use crate::fault::fault;

pub struct Athena {
    client: Client,
    workgroup: String,
    output: Option<String>,
}

impl Athena {
    /// Creates the port on a workgroup. `output` is the S3 location of query results if the workgroup sets none.
    pub fn new(config: &aws_config::SdkConfig, workgroup: String, output: Option<String>) -> Self {
        Athena { client: Client::new(config), workgroup, output }
    }
}

/// The pause before the second poll of a query's state. It doubles before each further poll, up to `MAX_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How long one query may take before it is cancelled. A function has 15 minutes for the checks, the flip and its
/// canary.
const MAX_QUERY_TIME: Duration = Duration::from_mins(6);

/// The maximum number of rows, including the header row, to read from a result. No check needs more.
const MAX_ROWS: i32 = 100;

/// An upper limit on the time from a query's submission to its end. A DML statement runs for at most 4 hours; the rest
/// allows for time in the queue.
const MAX_QUERY_AGE: SignedDuration = SignedDuration::from_hours(24);

#[async_trait]
impl Query for Athena {
    async fn run(&self, database: &str, sql: &str) -> Result<Answered> {
        let id = self.start(database, sql).await?;
        let Ok(ended) = timeout(MAX_QUERY_TIME, self.wait(&id)).await else {
            // Stopping the query is best effort: its result is no longer needed.
            let _ = self.client.stop_query_execution().query_execution_id(&id).send().await;
            let minutes = MAX_QUERY_TIME.as_secs() / 60;
            return Err(Error::unavailable(format!(
                "Athena query {id} was cancelled because it ran for more than {minutes} minutes: invoke the function \
                 again, or make the query faster"
            )));
        };
        let ended = ended?;
        let scanned = ended.statistics.and_then(|all| all.data_scanned_in_bytes).unwrap_or_default();
        let results = self.client.get_query_results().query_execution_id(&id).max_results(MAX_ROWS);
        let answer = results.send().await.map_err(|error| fault("athena:GetQueryResults", &id, error))?;
        Ok(Answered {
            rows: answer.result_set.map(rows).unwrap_or_default(),
            scanned: u64::try_from(scanned).unwrap_or_default(),
        })
    }

    async fn oldest_running(&self, workgroups: &[String]) -> Result<Option<Timestamp>> {
        let mut oldest: Option<Timestamp> = None;
        for workgroup in workgroups {
            let mut pages = self.client.list_query_executions().work_group(workgroup).into_paginator().send();
            let mut newest: Option<Timestamp> = None;
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| fault("athena:ListQueryExecutions", workgroup, error))?;
                let executions = self.executions(workgroup, page.query_execution_ids).await?;
                let submitted = |one: &QueryExecution| one.status().and_then(submitted);
                newest = newest.max(executions.iter().filter_map(submitted).max());
                oldest = oldest
                    .into_iter()
                    .chain(executions.iter().filter(|one| is_running(one)).filter_map(submitted))
                    .min();
                // Athena lists the queries of the last 45 days, newest first. A query that was submitted so much
                // earlier than the newest can't be running any more.
                let last = executions.iter().filter_map(submitted).max();
                if newest.zip(last).is_some_and(|(newest, last)| newest.duration_since(last) > MAX_QUERY_AGE) {
                    break;
                }
            }
        }
        Ok(oldest)
    }
}

impl Athena {
    async fn start(&self, database: &str, sql: &str) -> Result<String> {
        // The SDK gives each call its own ClientRequestToken, so Athena runs a retried request only once.
        let no_reuse = ResultReuseConfiguration::builder()
            .result_reuse_by_age_configuration(ResultReuseByAgeConfiguration::builder().enabled(false).build())
            .build();
        let output = self.output.as_ref().map(|output| ResultConfiguration::builder().output_location(output).build());
        let sent = self
            .client
            .start_query_execution()
            .query_string(sql)
            .query_execution_context(QueryExecutionContext::builder().database(database).build())
            .work_group(&self.workgroup)
            .set_result_configuration(output)
            .result_reuse_configuration(no_reuse)
            .send()
            .await;
        let id = sent.map_err(|error| refused(&self.workgroup, error))?.query_execution_id;
        id.ok_or_else(|| {
            Error::unavailable(format!(
                "athena:StartQueryExecution in workgroup {:?} returned no query ID: invoke the function again",
                self.workgroup
            ))
        })
    }

    /// Polls the query until it ends. Fails if the query fails or is cancelled.
    async fn wait(&self, id: &str) -> Result<QueryExecution> {
        let mut pause = FIRST_PAUSE;
        loop {
            let sent = self.client.get_query_execution().query_execution_id(id).send().await;
            let execution = sent.map_err(|error| fault("athena:GetQueryExecution", id, error))?.query_execution;
            let execution = execution.unwrap_or_else(|| QueryExecution::builder().build());
            let status = execution.status();
            match status.and_then(QueryExecutionStatus::state) {
                Some(QueryExecutionState::Succeeded) => return Ok(execution),
                Some(QueryExecutionState::Failed) => return Err(failed(id, status)),
                Some(QueryExecutionState::Cancelled) => {
                    return Err(cancelled(id));
                }
                _ => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn executions(&self, workgroup: &str, ids: Option<Vec<String>>) -> Result<Vec<QueryExecution>> {
        let ids = ids.filter(|ids| !ids.is_empty());
        let Some(ids) = ids else { return Ok(Vec::new()) };
        let sent = self.client.batch_get_query_execution().set_query_execution_ids(Some(ids)).send().await;
        let answer = sent.map_err(|error| fault("athena:BatchGetQueryExecution", workgroup, error))?;
        Ok(answer.query_executions.unwrap_or_default())
    }
}

/// Converts the error from a query that Athena refused to start. Athena returns the same exception for a syntax error
/// as for a workgroup without an output location.
pub(super) fn refused(workgroup: &str, error: SdkError<StartQueryExecutionError>) -> Error {
    let message = error.message().unwrap_or_default().to_owned();
    match error.as_service_error() {
        Some(StartQueryExecutionError::InvalidRequestException(invalid)) => {
            // No row has been read yet, so the message can only quote the query.
            if invalid.athena_error_code() == Some("MALFORMED_QUERY") || message.starts_with("line ") {
                return Error::input(format!(
                    "Athena rejected the query with SYNTAX_ERROR: {message}: correct the query"
                ));
            }
            Error::config(format!(
                "Athena refused to start a query in workgroup {workgroup:?} ({message}): correct the workgroup's \
                 settings"
            ))
        }
        _ => fault("athena:StartQueryExecution", workgroup, error),
    }
}

pub(super) fn cancelled(id: &str) -> Error {
    Error::unavailable(format!(
        "Athena query {id} was cancelled, by a person or by the workgroup's limit on scanned bytes: invoke the \
         function again, or raise the limit"
    ))
}

fn is_running(execution: &QueryExecution) -> bool {
    use QueryExecutionState::{Cancelled, Failed, Succeeded};
    let state = execution.status().and_then(QueryExecutionStatus::state);
    !matches!(state, Some(Succeeded | Failed | Cancelled))
}

fn submitted(status: &QueryExecutionStatus) -> Option<Timestamp> {
    let at = status.submission_date_time()?;
    Timestamp::from_second(at.secs()).ok()
}

/// The names of errors whose text quotes only the query, names and locations, never values from rows. Athena raises
/// most of them before it reads a row.
const SAFE_TO_QUOTE: [&str; 13] = [
    "SYNTAX_ERROR",
    "COLUMN_NOT_FOUND",
    "TABLE_NOT_FOUND",
    "SCHEMA_NOT_FOUND",
    "FUNCTION_NOT_FOUND",
    "TYPE_MISMATCH",
    "EXPRESSION_NOT_AGGREGATE",
    "AMBIGUOUS_NAME",
    "MISSING_COLUMN_NAME",
    "DUPLICATE_COLUMN_NAME",
    "HIVE_PATH_ALREADY_EXISTS",
    "HIVE_TOO_MANY_OPEN_PARTITIONS",
    "NOT_SUPPORTED",
];

/// Returns the error for a failed query. Athena's text may quote a value, as in `Cannot cast 'alice' to bigint`, so
/// unless the error is in `SAFE_TO_QUOTE`, only its name and the query's ID are kept. With the ID, anyone with access
/// to Athena can look up the full text.
pub(super) fn failed(id: &str, status: Option<&QueryExecutionStatus>) -> Error {
    let error = status.and_then(QueryExecutionStatus::athena_error);
    let text = status.and_then(QueryExecutionStatus::state_change_reason).unwrap_or_default();
    let name = text.split(':').next().filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    let name = name.filter(|name| !name.is_empty()).unwrap_or("an unnamed error");
    let why = if SAFE_TO_QUOTE.contains(&name) { text } else { name };
    const SYSTEM: i32 = 1;
    if error.and_then(AthenaError::error_category) == Some(SYSTEM) || error.is_some_and(AthenaError::retryable) {
        return Error::unavailable(format!(
            "Athena query {id} failed with a temporary error, {name}: invoke the function again"
        ));
    }
    match name {
        "PERMISSION_DENIED" | "ACCESS_DENIED" => Error::config(format!(
            "Athena query {id} failed with {name}: allow the function's role to read the tables and files that it \
             queries"
        )),
        _ => Error::input(format!("Athena query {id} failed with {why}: correct the query or the data that it reads")),
    }
}

/// Returns the rows without Athena's header row.
fn rows(results: ResultSet) -> Vec<Vec<Option<String>>> {
    let columns = results.result_set_metadata.and_then(|all| all.column_info).unwrap_or_default();
    let labels: Vec<Option<String>> = columns.into_iter().map(|column| column.label.or(Some(column.name))).collect();
    let cells = |row: aws_sdk_athena::types::Row| -> Vec<Option<String>> {
        row.data.unwrap_or_default().into_iter().map(|cell| cell.var_char_value).collect()
    };
    let mut rows: Vec<_> = results.rows.unwrap_or_default().into_iter().map(cells).collect();
    if rows.first() == Some(&labels) {
        rows.remove(0);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use turntable_core::error::Kind;

    fn status(reason: &str, category: i32) -> QueryExecutionStatus {
        QueryExecutionStatus::builder()
            .state_change_reason(reason)
            .athena_error(AthenaError::builder().error_category(category).build())
            .build()
    }

    #[test]
    fn error_text_that_may_hold_a_row_value_is_not_reported() {
        let report = |reason, category| {
            let error = failed("q1", Some(&status(reason, category)));
            (error.kind(), error.message().to_owned())
        };
        for (reason, category, kind, expected) in [
            (
                "INVALID_CAST_ARGUMENT: Cannot cast 'alice' to BIGINT",
                2,
                Kind::Input,
                "Athena query q1 failed with INVALID_CAST_ARGUMENT: correct the query or the data that it reads",
            ),
            (
                "COLUMN_NOT_FOUND: line 1:8: Column 'idd' cannot be resolved",
                2,
                Kind::Input,
                "Athena query q1 failed with COLUMN_NOT_FOUND: line 1:8: Column 'idd' cannot be resolved: correct the \
                 query or the data that it reads",
            ),
            (
                "alice is wrong",
                2,
                Kind::Input,
                "Athena query q1 failed with an unnamed error: correct the query or the data that it reads",
            ),
            (
                "",
                3,
                Kind::Input,
                "Athena query q1 failed with an unnamed error: correct the query or the data that it reads",
            ),
            (
                "HIVE_CURSOR_ERROR: s3://…",
                1,
                Kind::Unavailable,
                "Athena query q1 failed with a temporary error, HIVE_CURSOR_ERROR: invoke the function again",
            ),
            (
                "PERMISSION_DENIED: Access Denied",
                2,
                Kind::Config,
                "Athena query q1 failed with PERMISSION_DENIED: allow the function's role to read the tables and files \
                 that it queries",
            ),
        ] {
            assert_eq!(report(reason, category), (kind, expected.to_owned()));
        }
    }
}

//! The [`Query`] port on Athena.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_athena::{
    Client,
    types::{QueryExecution, QueryExecutionState, QueryExecutionStatus, ResultSet},
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{sleep, timeout};
use turntable_core::{
    error::{Error, Result},
    port::{Answered, Query},
};

use super::{
    failure::ended,
    start::{Start, start},
};
use crate::fault::fault;

pub struct Athena {
    client: Client,
    workgroup: String,
    output: Option<String>,
}

impl Athena {
    /// Creates a port that runs queries in this workgroup. `output` is the S3 location of query results if the
    /// workgroup sets none.
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
        self.run_within(database, sql, MAX_QUERY_TIME).await
    }

    async fn run_within(&self, database: &str, sql: &str, time: Duration) -> Result<Answered> {
        let output = self.output.as_deref();
        let query = Start { workgroup: &self.workgroup, database, sql, token: None, output };
        let id = start(&self.client, query).await?;
        let Ok(execution) = timeout(time, self.wait(&id)).await else {
            // Stopping the query is best effort: its result is no longer needed.
            let _ = self.client.stop_query_execution().query_execution_id(&id).send().await;
            return Err(Error::unavailable(format!(
                "Athena query {id} was cancelled because it ran for more than {time:?}: invoke the function again, or make \
                 the query faster"
            )));
        };
        let execution = execution?;
        let scanned = execution.statistics.and_then(|all| all.data_scanned_in_bytes).unwrap_or_default();
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
                // Athena lists the queries of the last 45 days, newest first. A query that was submitted more than
                // `MAX_QUERY_AGE` before the newest one can't be running any more.
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
    /// Polls the query until it ends. Fails if the query fails or is cancelled.
    async fn wait(&self, id: &str) -> Result<QueryExecution> {
        let mut pause = FIRST_PAUSE;
        loop {
            let sent = self.client.get_query_execution().query_execution_id(id).send().await;
            let execution = sent.map_err(|error| fault("athena:GetQueryExecution", id, error))?.query_execution;
            let execution = execution.unwrap_or_else(|| QueryExecution::builder().build());
            if ended(id, &execution, self.output.as_deref())? {
                return Ok(execution);
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
        // A query that Athena leaves out may be running. If it counted as finished, sweep would delete its files.
        match answer.unprocessed_query_execution_ids().first() {
            None => Ok(answer.query_executions.unwrap_or_default()),
            Some(one) => Err(Error::unavailable(format!(
                "athena:BatchGetQueryExecution in workgroup {workgroup:?} left out {} of its queries, for example {} \
                 with {}: nothing is known about them, so invoke the function again",
                answer.unprocessed_query_execution_ids().len(),
                one.query_execution_id().unwrap_or("one without an ID"),
                one.error_code().unwrap_or("no error code"),
            ))),
        }
    }
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

//! Runs queries on Athena and reads their results.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_athena::types::{QueryExecutionState, ResultConfiguration, Row};

/// The pause between two requests for a running query's state.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Returns the first row of a query's result. `output` is the S3 folder for the result.
pub async fn first_row(athena: &aws_sdk_athena::Client, output: &str, sql: &str) -> Result<Vec<Option<String>>> {
    let rows = rows(athena, output, sql).await?;
    rows.into_iter().next().context("the query returned no rows")
}

/// Returns all rows of a query's result, without the header.
pub async fn rows(athena: &aws_sdk_athena::Client, output: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let mut lines = lines(athena, output, sql).await?;
    Ok(lines.split_off(1.min(lines.len())))
}

/// Returns all rows as Athena sends them: a SELECT's result starts with the column names.
pub async fn lines(athena: &aws_sdk_athena::Client, output: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let id = run(athena, output, sql).await?;
    let mut pages = athena.get_query_results().query_execution_id(id).into_paginator().send();
    let mut lines = Vec::new();
    while let Some(page) = pages.next().await {
        let set = page?.result_set;
        let cells = |row: Row| -> Vec<Option<String>> {
            row.data.unwrap_or_default().into_iter().map(|cell| cell.var_char_value).collect()
        };
        lines.extend(set.and_then(|set| set.rows).unwrap_or_default().into_iter().map(cells));
    }
    Ok(lines)
}

/// Runs a query, waits until it succeeds, and returns its id. Fails with Athena's reason if the query doesn't succeed.
async fn run(athena: &aws_sdk_athena::Client, output: &str, sql: &str) -> Result<String> {
    let result = ResultConfiguration::builder().output_location(output).build();
    let start = athena.start_query_execution().query_string(sql).result_configuration(result).send().await?;
    let id = start.query_execution_id.context("Athena started a query, but returned no ID for it: try again")?;
    loop {
        let answer = athena.get_query_execution().query_execution_id(&id).send().await?;
        let status = answer.query_execution().and_then(|query| query.status());
        match status.and_then(|status| status.state()) {
            Some(QueryExecutionState::Succeeded) => return Ok(id),
            Some(QueryExecutionState::Queued | QueryExecutionState::Running) => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            state => {
                let reason = status.and_then(|status| status.state_change_reason()).unwrap_or("no reason given");
                bail!("Athena query {id} ended as {}: {reason}", state.map_or("LOST", |state| state.as_str()));
            }
        }
    }
}

//! Runs queries on Athena and reads their results.

use std::{fmt, time::Duration};

use anyhow::{Context, Result};
use aws_sdk_athena::types::{QueryExecutionState, ResultConfiguration, Row};
use serde::Serialize;

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
    let id = run(athena, &Results::In(output.into()), sql).await?;
    Ok(read(athena, id).await?.rows)
}

/// The result of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub columns: Vec<String>,
    /// The rows, without the header. `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Runs one statement and returns its result.
pub async fn answer(athena: &aws_sdk_athena::Client, results: &Results, sql: &str) -> Result<Answer> {
    let id = run(athena, results, sql).await?;
    let mut answer = read(athena, id).await?;
    // Athena sends the names as the first row of a query's result, but not of the result of SHOW and the like.
    let is_header = |row: &Vec<Option<String>>| {
        row.len() == answer.columns.len()
            && row.iter().zip(&answer.columns).all(|(cell, name)| cell.as_ref() == Some(name))
    };
    if answer.rows.first().is_some_and(is_header) {
        answer.rows.remove(0);
    }
    Ok(answer)
}

/// Reads all pages of a result.
async fn read(athena: &aws_sdk_athena::Client, id: String) -> Result<Answer> {
    let mut pages = athena.get_query_results().query_execution_id(id).into_paginator().send();
    let mut answer = Answer::default();
    while let Some(page) = pages.next().await {
        let Some(set) = page?.result_set else { continue };
        if let Some(columns) = set.result_set_metadata.and_then(|about| about.column_info) {
            answer.columns = columns.into_iter().map(|column| column.name).collect();
        }
        let cells = |row: Row| -> Vec<Option<String>> {
            row.data.unwrap_or_default().into_iter().map(|cell| cell.var_char_value).collect()
        };
        answer.rows.extend(set.rows.unwrap_or_default().into_iter().map(cells));
    }
    Ok(answer)
}

/// Where Athena writes a statement's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Results {
    /// In this S3 folder.
    In(String),
    /// Where this workgroup's settings say.
    OfWorkgroup(String),
}

/// A statement that Athena ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryFailed {
    id: String,
    state: String,
    reason: String,
}

impl fmt::Display for QueryFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Athena query {} ended as {}: {}", self.id, self.state, self.reason)
    }
}

impl std::error::Error for QueryFailed {}

/// Runs a query, waits until it succeeds, and returns its id. Fails with Athena's reason if the query doesn't succeed.
async fn run(athena: &aws_sdk_athena::Client, results: &Results, sql: &str) -> Result<String> {
    let start = athena.start_query_execution().query_string(sql);
    let start = match results {
        Results::In(output) => {
            start.result_configuration(ResultConfiguration::builder().output_location(output).build())
        }
        Results::OfWorkgroup(workgroup) => start.work_group(workgroup),
    };
    let start = start.send().await?;
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
                let state = state.map_or("LOST", |state| state.as_str()).to_owned();
                return Err(QueryFailed { id, state, reason: reason.to_owned() }.into());
            }
        }
    }
}

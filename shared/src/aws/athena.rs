//! Athena.

use async_trait::async_trait;
use aws_sdk_athena::{
    Client,
    types::{QueryExecution, QueryExecutionState},
};
use jiff::{SignedDuration, Timestamp};

use super::fault;
use crate::{error::Result, port::Query};

pub struct Athena(Client);

impl Athena {
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Athena(Client::new(config))
    }
}

/// Athena ends a query of DML after 240 minutes at most, and one may have been queued before.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

#[async_trait]
impl Query for Athena {
    /// Pages come newest first: the first page that ends with a query older than any that can still run is the last.
    async fn oldest_running(&self, workgroups: &[String]) -> Result<Option<Timestamp>> {
        let mut oldest: Option<Timestamp> = None;
        for workgroup in workgroups {
            let mut newest: Option<Timestamp> = None;
            let mut pages = self.0.list_query_executions().work_group(workgroup).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| fault("athena:ListQueryExecutions", workgroup, error))?;
                let Some(ids) = page.query_execution_ids.filter(|ids| !ids.is_empty()) else { continue };
                let asked = self.0.batch_get_query_execution().set_query_execution_ids(Some(ids)).send().await;
                let asked = asked.map_err(|error| fault("athena:BatchGetQueryExecution", workgroup, error))?;
                let executions = asked.query_executions();
                let times = executions.iter().filter_map(submitted);
                newest = newest.max(times.clone().max());
                oldest = oldest.into_iter().chain(executions.iter().filter(is_running).filter_map(submitted)).min();
                let too_old = |time: Timestamp| newest.is_some_and(|newest| newest.duration_since(time) > LONGEST);
                if times.max().is_some_and(too_old) {
                    break;
                }
            }
        }
        Ok(oldest)
    }
}

fn is_running(query: &&QueryExecution) -> bool {
    let state = query.status().and_then(|status| status.state());
    matches!(state, Some(QueryExecutionState::Queued | QueryExecutionState::Running))
}

fn submitted(query: &QueryExecution) -> Option<Timestamp> {
    Timestamp::from_second(query.status()?.submission_date_time()?.secs()).ok()
}

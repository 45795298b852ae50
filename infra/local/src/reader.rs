//! A user of the tables: queries them through Athena without a pause while generations come and go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_sdk_athena::types::{QueryExecutionState, ResultConfiguration};
use tokio::task::JoinHandle;
use turntable::name::TableName;

use crate::stack::Stack;

/// What the queries saw.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Queries that saw exactly one generation.
    pub ok: u64,
    /// Queries that ended in an error.
    pub failed: u64,
    /// Queries that saw files of two generations.
    pub mixed: u64,
    /// The first of what went wrong, in words.
    pub complaints: Vec<String>,
    /// Per table and folder: how many rows were counted, and how often.
    pub seen: BTreeMap<(TableName, String), BTreeMap<u64, u64>>,
}

impl Tally {
    pub fn complain(&mut self, complaint: String) {
        if self.complaints.len() < 5 {
            self.complaints.push(complaint);
        }
    }

    fn count(&mut self, table: &TableName, answer: Result<Answer>) {
        match answer {
            Ok(Answer { rows, folders: 0 | 1, folder }) => {
                self.ok += 1;
                *self.seen.entry((table.clone(), folder)).or_default().entry(rows).or_default() += 1;
            }
            Ok(Answer { folders, .. }) => {
                self.mixed += 1;
                self.complain(format!("{table}: a query saw files of {folders} generations"));
            }
            Err(error) => {
                self.failed += 1;
                self.complain(format!("{table}: {error:#}"));
            }
        }
    }
}

struct Answer {
    rows: u64,
    folders: u64,
    /// Empty for an empty table.
    folder: String,
}

/// Reads in the background until it is finished or dropped.
pub struct Reader {
    tables: Arc<Mutex<Vec<TableName>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Tally>,
}

impl Reader {
    pub fn start(stack: &Stack) -> Reader {
        let tables = Arc::new(Mutex::new(Vec::<TableName>::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (athena, output) = (stack.athena.clone(), format!("s3://{}/athena/", stack.scratch));
        let (its_tables, its_stop) = (tables.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut tally = Tally::default();
            // Each round queries every table, and the last begins after `finish`.
            loop {
                let last = its_stop.load(Ordering::Relaxed);
                let round = its_tables.lock().map(|tables| tables.clone()).unwrap_or_default();
                for table in &round {
                    let answer = ask(&athena, &output, table).await;
                    tally.count(table, answer);
                }
                if last {
                    return tally;
                }
                if round.is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        Reader { tables, stop, task }
    }

    /// From now on this table exists, and every query of it must succeed.
    pub fn add(&self, table: &TableName) {
        if let Ok(mut tables) = self.tables.lock()
            && !tables.contains(table)
        {
            tables.push(table.clone());
        }
    }

    /// Queries each table once more, and answers with all that was seen.
    pub async fn finish(mut self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.task).await.context("the reader ended early")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(athena: &aws_sdk_athena::Client, output: &str, table: &TableName) -> Result<Answer> {
    // "$path" is the file that a row comes from; the folders of partitions are none of a generation.
    let sql = format!(
        r#"SELECT count(*), count(DISTINCT folder), max(folder)
           FROM (SELECT regexp_replace("$path", '([^/=]*=[^/]*/)*[^/]*$', '') AS folder FROM "{}"."{}")"#,
        table.database, table.table
    );
    let cells = query(athena, output, &sql).await?;
    let number = |at: usize| -> Result<u64> {
        let cell = cells.get(at).and_then(Option::as_deref).context("a cell is missing")?;
        cell.parse().with_context(|| format!("{cell:?} is no number"))
    };
    Ok(Answer { rows: number(0)?, folders: number(1)?, folder: cells.get(2).cloned().flatten().unwrap_or_default() })
}

/// The first row of a query's result.
pub async fn query(athena: &aws_sdk_athena::Client, output: &str, sql: &str) -> Result<Vec<Option<String>>> {
    let rows = rows(athena, output, sql).await?;
    rows.into_iter().next().context("the result has no row")
}

/// All rows of a query's result.
pub async fn rows(athena: &aws_sdk_athena::Client, output: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let mut lines = lines(athena, output, sql).await?;
    Ok(lines.split_off(1.min(lines.len())))
}

/// The same behind the names of the columns, which Athena has for whatever is a query.
pub async fn lines(athena: &aws_sdk_athena::Client, output: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    let id = succeeded(athena, output, sql).await?;
    let mut pages = athena.get_query_results().query_execution_id(id).into_paginator().send();
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await {
        let set = page?.result_set;
        let cells = |row: aws_sdk_athena::types::Row| -> Vec<Option<String>> {
            row.data.unwrap_or_default().into_iter().map(|cell| cell.var_char_value).collect()
        };
        rows.extend(set.and_then(|set| set.rows).unwrap_or_default().into_iter().map(cells));
    }
    Ok(rows)
}

/// The id of a query, when it has succeeded.
async fn succeeded(athena: &aws_sdk_athena::Client, output: &str, sql: &str) -> Result<String> {
    let result = ResultConfiguration::builder().output_location(output).build();
    let start = athena.start_query_execution().query_string(sql).result_configuration(result).send().await?;
    let id = start.query_execution_id.context("Athena gave the query no id")?;
    loop {
        let answer = athena.get_query_execution().query_execution_id(&id).send().await?;
        let status = answer.query_execution().and_then(|query| query.status());
        match status.and_then(|status| status.state()) {
            Some(QueryExecutionState::Succeeded) => return Ok(id),
            Some(QueryExecutionState::Queued | QueryExecutionState::Running) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            state => {
                let reason = status.and_then(|status| status.state_change_reason()).unwrap_or("no reason given");
                bail!("query {}: {reason}", state.map_or("LOST", |state| state.as_str()));
            }
        }
    }
}

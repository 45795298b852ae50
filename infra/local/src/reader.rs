//! Queries the tables through Athena without a pause, while flips replace the live generations.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use client::athena;
use tokio::task::JoinHandle;
use turntable::layout::TableName;

use crate::stack::Stack;

/// How many complaints a [`Tally`] keeps; later ones are only counted.
const MAX_COMPLAINTS: usize = 5;

/// The results of all queries.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Queries that saw files from only one generation, or no files, because the table is empty.
    pub ok: u64,
    /// Queries that failed. At the end of a run, these include queries whose row count differs from the manifest's.
    pub failed: u64,
    /// Queries that saw files from several generations.
    pub mixed: u64,
    /// Messages about the first few queries that failed or saw several generations.
    pub complaints: Vec<String>,
    /// How often each row count was seen, by table and generation folder.
    pub seen: BTreeMap<(TableName, String), BTreeMap<u64, u64>>,
}

impl Tally {
    /// Adds a complaint, unless there are enough already.
    pub fn complain(&mut self, complaint: String) {
        if self.complaints.len() < MAX_COMPLAINTS {
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
                self.complain(format!("{table}: a query saw files from {folders} generations"));
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
    /// The number of generations' folders that the rows come from.
    folders: u64,
    /// The generation's folder; empty if the table is empty.
    folder: String,
}

/// A background task that queries the tables until [`Reader::finish`] is called or the reader is dropped.
pub struct Reader {
    tables: Arc<Mutex<Vec<TableName>>>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Tally>,
}

impl Reader {
    /// Starts a reader that has no tables yet.
    pub fn start(stack: &Stack) -> Reader {
        let tables = Arc::new(Mutex::new(Vec::<TableName>::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (client, output) = (stack.athena.clone(), format!("s3://{}/athena/", stack.scratch));
        let (task_tables, task_stop) = (tables.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut tally = Tally::default();
            // Each round queries every table. The last round starts after `finish` is called.
            loop {
                let last = task_stop.load(Ordering::Relaxed);
                let round = task_tables.lock().map(|tables| tables.clone()).unwrap_or_default();
                for table in &round {
                    let answer = count_rows(&client, &output, table).await;
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

    /// Adds a table. From now on, every query on it must succeed.
    pub fn add(&self, table: &TableName) {
        if let Ok(mut tables) = self.tables.lock()
            && !tables.contains(table)
        {
            tables.push(table.clone());
        }
    }

    /// Queries each table once more, and returns the results of all queries.
    pub async fn finish(mut self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.task).await.context("the reader ended too early")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts a table's rows and the generations that they come from.
async fn count_rows(client: &aws_sdk_athena::Client, output: &str, table: &TableName) -> Result<Answer> {
    // "$path" is the file that a row comes from. Cutting off the partition folders and the file name leaves the
    // generation's folder.
    let sql = format!(
        r#"SELECT count(*), count(DISTINCT folder), max(folder)
           FROM (SELECT regexp_replace("$path", '([^/=]*=[^/]*/)*[^/]*$', '') AS folder FROM "{}"."{}")"#,
        table.database, table.table
    );
    let cells = athena::first_row(client, output, &sql).await?;
    let number = |at: usize| -> Result<u64> {
        let cell = cells.get(at).and_then(Option::as_deref).context("the result has too few columns")?;
        cell.parse().with_context(|| format!("{cell:?} is not a number"))
    };
    Ok(Answer { rows: number(0)?, folders: number(1)?, folder: cells.get(2).cloned().flatten().unwrap_or_default() })
}

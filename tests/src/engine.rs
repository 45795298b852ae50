//! Athena and Glue as in-memory engines. A test decides when and how each run ends; runs write to the in-memory S3.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::{Int64Array, RecordBatch};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use turntable::{
    config::Parquet,
    error::{Error, Kind, Result},
    layout::Location,
    parquet::{self, Rows},
    port::{Answered, Engine, Objects as _, Progress, RunState},
    record::{EngineRun, Pending, Work},
    unload,
};

use crate::memory;

pub struct Memory {
    objects: memory::Objects,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    runs: Vec<Started>,
    /// The fates of the next starts, in order.
    starts: Vec<Start>,
    /// The answer to the query that precedes an `UNLOAD`: one row.
    answer: Vec<Option<String>>,
    asked: Vec<String>,
}

/// What happens when a run is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Heard,
    /// The run starts, and the caller gets an error.
    Lost,
    /// The run doesn't start, and the caller gets no answer.
    Unanswered,
    /// The engine rejects the run for good.
    Refused,
}

/// A started run, with its location and the work that was requested.
#[derive(Debug, Clone)]
pub struct Started {
    pub run: EngineRun,
    pub location: Location,
    pub work: Work,
    ended: Option<Ended>,
}

#[derive(Debug, Clone)]
enum Ended {
    Succeeded,
    Failed(Kind, String),
}

impl Started {
    /// Returns whether the run succeeded, or `None` while it is still running.
    pub fn ended(&self) -> Option<bool> {
        self.ended.as_ref().map(|ended| matches!(ended, Ended::Succeeded))
    }
}

impl Memory {
    pub fn new(objects: &memory::Objects) -> Memory {
        Memory { objects: objects.clone(), state: Mutex::default() }
    }

    /// Returns an independent copy whose runs write to `objects`.
    pub fn fork(&self, objects: &memory::Objects) -> Memory {
        Memory { objects: objects.clone(), state: Mutex::new(self.state().clone()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fate to the queue from which each start takes the first. A start that finds the queue empty succeeds.
    pub fn next_start(&self, start: Start) {
        self.state().starts.push(start);
    }

    /// Lets all later starts succeed.
    pub fn forget_fates(&self) {
        self.state().starts.clear();
    }

    /// Sets Athena's answer to the query about partitions: how many there are, and the types of their columns.
    pub fn partitions(&self, count: u64, types: &[&str]) {
        let types = types.iter().map(|kind| Some((*kind).to_owned()));
        self.state().answer = std::iter::once(Some(count.to_string())).chain(types).collect();
    }

    /// Returns every query so far that isn't a run.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Returns every run so far, in the order they were started.
    pub fn runs(&self) -> Vec<Started> {
        self.state().runs.clone()
    }

    /// Ends the `at`-th run as failed, and leaves an incomplete file at its location.
    pub fn fail(&self, at: usize, kind: Kind, why: &str) {
        let location = self.runs()[at].location.clone();
        self.objects.put(&location.key("orphan").to_string(), "half a file");
        self.state().runs[at].ended = Some(Ended::Failed(kind, why.into()));
    }

    /// Ends the `at`-th run as succeeded: writes a file with `rows` rows into each folder (`""` is the location
    /// itself), and `_SUCCESS`, as Spark does.
    pub async fn succeed(&self, at: usize, rows: i64, folders: &[&str]) {
        let location = self.runs()[at].location.clone();
        for folder in folders {
            let body = file(rows).await;
            self.objects.put(&location.key(&format!("{folder}part-00000-{at}-c000.zstd.parquet")).to_string(), body);
        }
        self.objects.put(&location.key("_SUCCESS").to_string(), "");
        self.succeed_without_files(at);
    }

    pub fn succeed_without_files(&self, at: usize) {
        self.state().runs[at].ended = Some(Ended::Succeeded);
    }
}

/// Returns a Parquet file with one column, `id`.
pub async fn file(rows: i64) -> bytes::Bytes {
    let ids = Int64Array::from_iter_values(0..rows);
    let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).expect("a batch");
    let schema = batch.schema();
    let rows = Rows { schema, copies: Vec::new(), streams: vec![stream::iter([Ok(batch)]).boxed()] };
    let scratch = memory::Objects::default();
    let objects: Arc<dyn turntable::port::Objects> = Arc::new(scratch.clone());
    let location: Location = "s3://scratch/".parse().expect("a location");
    parquet::write(&objects, &location, rows, Parquet::default()).await.expect("a file");
    let key = location.key("part-00000.parquet");
    scratch.get(&key).map(|got| got.expect("S3").expect("an object")).await
}

#[async_trait]
impl Engine for Memory {
    async fn start(&self, pending: &Pending, again: bool) -> Result<String> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        let fate = if state.starts.is_empty() { Start::Heard } else { state.starts.remove(0) };
        let known = state.runs.iter().position(|started| started.location == pending.location);
        let is_athena = matches!(pending.work, Work::Athena { .. });
        // Athena recognises the token of an earlier start. Glue doesn't, so only a retry (`again`) looks for the
        // earlier run.
        let known = known.filter(|_| is_athena || again);
        match fate {
            Start::Unanswered => return Err(Error::unavailable("the engine did not answer")),
            Start::Refused => return Err(Error::input("SYNTAX_ERROR: line 1:8")),
            Start::Heard | Start::Lost => {}
        }
        let at = match known {
            Some(at) => at,
            None => {
                let run = EngineRun::of(&pending.work, &format!("run-{}", state.runs.len()));
                let location = match &pending.work {
                    Work::Athena { sql, .. } => unload::location(sql).expect("an UNLOAD of ours"),
                    Work::GlueJob { arguments, .. } => {
                        arguments[turntable::record::JOB_LOCATION].parse().expect("a place")
                    }
                };
                state.runs.push(Started { run, location, work: pending.work.clone(), ended: None });
                state.runs.len() - 1
            }
        };
        match fate {
            Start::Lost => Err(Error::unavailable("the engine's answer was lost")),
            _ => Ok(format!("run-{at}")),
        }
    }

    async fn ask(&self, _: &str, _: &str, sql: &str) -> Result<Answered> {
        let mut state = self.state();
        state.asked.push(sql.into());
        Ok(Answered { rows: vec![state.answer.clone()], scanned: 7 })
    }

    async fn progress(&self, run: &EngineRun) -> Result<Option<Progress>> {
        tokio::task::yield_now().await;
        let state = self.state();
        let started = state.runs.iter().find(|started| started.run == *run);
        let twins = |of: &Started| state.runs.iter().filter(|other| other.location == of.location).count();
        Ok(started.map(|started| Progress {
            location: Some(started.location.clone()),
            state: match &started.ended {
                None => RunState::Running,
                // The files that two jobs write to one location can't be told apart.
                Some(Ended::Succeeded) if twins(started) > 1 => {
                    RunState::Failed(Error::conflict("two runs were told one location"))
                }
                Some(Ended::Succeeded) => RunState::Succeeded,
                Some(Ended::Failed(kind, why)) => RunState::Failed(Error::new(*kind, why)),
            },
        }))
    }
}

//! Queries Athena for the oldest running query. An invocation does this once for each set of workgroups, because
//! datasets with the same workgroups share the answer.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Mutex;
use turntable_core::{
    config::Dataset,
    error::{Kind, Result},
    port::Query,
    sweep::{OldestQuery, SweepState},
};

pub struct Readers {
    query: Arc<dyn Query>,
    /// The answer for each set of workgroups. The lock is held during a request, so that other datasets' sweeps wait
    /// for the answer instead of requesting it again.
    asked: Mutex<BTreeMap<Vec<String>, OldestQuery>>,
}

impl Readers {
    pub fn new(query: Arc<dyn Query>) -> Self {
        Readers { query, asked: Mutex::default() }
    }

    /// Returns when the oldest query that is still queued or running in the dataset's workgroups was submitted.
    ///
    /// Returns `NotAsked` if the dataset has no workgroups, or if the permission to list their queries is missing.
    /// Fails if Athena does not answer.
    pub async fn oldest_query(&self, dataset: &Dataset, state: &SweepState) -> Result<OldestQuery> {
        // A single generation is either live, so it is never deleted, or has never been live, so it has no readers.
        if state.generations.len() < 2 {
            return Ok(OldestQuery::Known(None));
        }
        self.oldest_in(&dataset.workgroups).await
    }

    /// Like [`Readers::oldest_query`], for these workgroups.
    pub async fn oldest_in(&self, workgroups: &[String]) -> Result<OldestQuery> {
        let mut asked = self.asked.lock().await;
        if let Some(known) = asked.get(workgroups) {
            return Ok(known.clone());
        }
        let answer = if workgroups.is_empty() {
            OldestQuery::NotAsked("no workgroups are configured".into())
        } else {
            match self.query.oldest_running(workgroups).await {
                Ok(oldest) => OldestQuery::Known(oldest),
                Err(failure) if failure.kind() == Kind::Config => OldestQuery::NotAsked(failure.report()),
                Err(failure) => return Err(failure),
            }
        };
        asked.insert(workgroups.to_vec(), answer.clone());
        Ok(answer)
    }

    /// Returns a note for each set of workgroups whose running queries were not checked.
    pub fn notes(self) -> Vec<String> {
        let note = |(workgroups, asked): (&Vec<String>, &OldestQuery)| match asked {
            OldestQuery::Known(_) => None,
            OldestQuery::NotAsked(why) => Some(format!(
                "running queries in [{}] were not checked, so only drain protects their files: {why}",
                workgroups.join(", ")
            )),
        };
        self.asked.into_inner().iter().filter_map(note).collect()
    }
}

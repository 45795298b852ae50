//! Who may still be reading: asked once an invocation, because one answer is as good for all datasets.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Mutex;
use turntable::{
    config::Dataset,
    error::{Kind, Result},
    port::Query,
    sweep::{OldestQuery, State},
};

pub struct Readers {
    query: Arc<dyn Query>,
    /// Whoever asks keeps the others waiting for the answer.
    asked: Mutex<BTreeMap<Vec<String>, OldestQuery>>,
}

impl Readers {
    pub fn new(query: Arc<dyn Query>) -> Self {
        Readers { query, asked: Mutex::default() }
    }

    /// What the plan of a dataset needs to know. An error, unless the dataset's workgroups may not be asked at all.
    pub async fn oldest_query(&self, dataset: &Dataset, state: &State) -> Result<OldestQuery> {
        // Live alone cannot be read too long.
        if state.generations.len() < 2 {
            return Ok(OldestQuery::Known(None));
        }
        let mut asked = self.asked.lock().await;
        if let Some(known) = asked.get(&dataset.workgroups) {
            return Ok(known.clone());
        }
        let answer = if dataset.workgroups.is_empty() {
            OldestQuery::NotAsked("no workgroups are configured".into())
        } else {
            match self.query.oldest_running(&dataset.workgroups).await {
                Ok(oldest) => OldestQuery::Known(oldest),
                Err(failure) if failure.kind() == Kind::Config => OldestQuery::NotAsked(failure.report()),
                Err(failure) => return Err(failure),
            }
        };
        asked.insert(dataset.workgroups.clone(), answer.clone());
        Ok(answer)
    }

    pub fn notes(self) -> Vec<String> {
        let note = |(workgroups, asked): (&Vec<String>, &OldestQuery)| match asked {
            OldestQuery::Known(_) => None,
            OldestQuery::NotAsked(why) => Some(format!(
                "Athena was not asked for running queries of [{}], only drain protects them: {why}",
                workgroups.join(", ")
            )),
        };
        self.asked.into_inner().iter().filter_map(note).collect()
    }
}

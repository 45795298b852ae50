//! In-memory Athena: answers each query with a function that a test can set.

use std::{
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    error::Result,
    port::{Answered, Query},
};

type Answer = Arc<dyn Fn(&str) -> Result<Answered> + Send + Sync>;

/// An in-memory Athena, which also records the queries that it ran.
pub struct Memory {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<String>>,
    oldest: Mutex<Option<Timestamp>>,
}

impl Default for Memory {
    /// Returns an Athena that answers every query with `true`.
    fn default() -> Self {
        let answer: Answer = Arc::new(|_| Ok(one("true")));
        Memory { answer: Mutex::new(answer), asked: Mutex::default(), oldest: Mutex::default() }
    }
}

/// Returns the answer of a query that returned one value and scanned 7 bytes.
pub fn one(value: &str) -> Answered {
    Answered { rows: vec![vec![Some(value.into())]], scanned: 7 }
}

/// Lets other tasks run once. Works in any async runtime.
async fn yield_now() {
    let mut is_first = true;
    poll_fn(|context| match mem::take(&mut is_first) {
        true => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        false => Poll::Ready(()),
    })
    .await;
}

impl Memory {
    /// Returns a copy with the same answers, but without the recorded queries.
    pub fn fork(&self) -> Memory {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let oldest = *self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        Memory { answer: Mutex::new(answer), asked: Mutex::default(), oldest: Mutex::new(oldest) }
    }

    /// Sets the function that answers all further queries.
    pub fn answers(&self, answer: impl Fn(&str) -> Result<Answered> + Send + Sync + 'static) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(answer);
    }

    /// Returns the SQL of all queries so far, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the time at which the oldest running query was submitted. `None` means that no query is running.
    pub fn running_since(&self, oldest: Option<Timestamp>) {
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
    }
}

#[async_trait]
impl Query for Memory {
    async fn run(&self, _: &str, sql: &str) -> Result<Answered> {
        yield_now().await;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(sql.into());
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner)(sql);
        yield_now().await;
        answer
    }

    async fn run_within(&self, database: &str, sql: &str, _: Duration) -> Result<Answered> {
        self.run(database, sql).await
    }

    async fn oldest_running(&self, _: &[String]) -> Result<Option<Timestamp>> {
        Ok(*self.oldest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! The stack behind the page. The connection is made again after a failure, so that a restarted stack is found.

use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use turntable::{aws::s3::S3, config::Config, layout::Key};

use super::records::Records;
use crate::target::{Function, Stack, Target};

/// A connection to a stack: its functions, and the records in its bucket.
pub struct Connected {
    pub stack: Stack,
    pub records: Records,
}

/// A stack, connected on demand.
pub struct Source {
    pub target: Target,
    connected: Mutex<Option<Arc<Connected>>>,
}

/// The `datasets.toml` in the bucket.
pub struct Deployed {
    pub at: Key,
    pub text: String,
    /// Its datasets, or why none of them can be read.
    pub config: Result<Config, String>,
}

impl Source {
    pub fn new(target: Target) -> Source {
        Source { target, connected: Mutex::default() }
    }

    /// Returns the connection, and connects first if there is none.
    pub async fn connected(&self) -> Result<Arc<Connected>> {
        let mut held = self.connected.lock().await;
        if let Some(connected) = &*held {
            return Ok(connected.clone());
        }
        let stack = self.target.connect().await?;
        let records = Records::new(Arc::new(S3::new(stack.aws())));
        let connected = Arc::new(Connected { stack, records });
        *held = Some(connected.clone());
        Ok(connected)
    }

    /// Forgets the connection.
    pub async fn reconnect(&self) {
        *self.connected.lock().await = None;
    }
}

impl Connected {
    /// Asks for the status of all datasets.
    pub async fn overview(&self) -> Result<Value> {
        self.stack.invoke(Function::Flip, &json!({ "action": "status" })).await
    }

    /// Asks for the status of one dataset.
    pub async fn status(&self, dataset: &str) -> Result<Value> {
        self.stack.invoke(Function::Flip, &json!({ "dataset": dataset, "action": "status" })).await
    }

    /// Reads `datasets.toml`.
    pub async fn deployed(&self) -> Result<Deployed> {
        let at: Key = self.stack.output("DatasetsUri")?.parse()?;
        let text = self.records.text(&at).await?.with_context(|| format!("{at} is not there: upload it first"))?;
        let config = Config::parse(&at.to_string(), &text).map_err(|error| error.report());
        Ok(Deployed { at, text, config })
    }
}

/// Returns the time by this machine's clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

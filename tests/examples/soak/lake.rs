//! The stack under test, and the state that the tasks share.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use cli::athena;
use local::{Deployment, Emulator, Stack};
use serde_json::{Value, json};

use crate::oracle;

/// The contents of datasets.toml. Its drain is longer than any query here, and short enough that sweeps delete
/// generations during the run.
const DATASETS: &str = r#"
[defaults]
database = "dmp"
location = "s3://${BUCKET}/schemas"
retain = { drain = "12s" }

[datasets.users]
source = { files = { location = "s3://${BUCKET}/source/users.csv", columns = { id = "bigint", name = "string", day = "bigint" } } }
retain = { generations = 2 }

[datasets.optouts]
source = { inbox = { location = "s3://${BUCKET}/inbox/optouts", key = "user_id", columns = { user_id = "bigint" } } }
protects = { users = "id" }
"#;

/// The drain in [`DATASETS`], in seconds.
pub const DRAIN: f64 = 12.0;
/// How long [`Lake::until`] waits before it fails.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Lake {
    pub stack: Stack,
    pub endpoint: String,
    /// The number of the last person whose drop was uploaded. Drops are uploaded in the order of these numbers.
    pub sent: AtomicU64,
    /// The number of the last person whose opt-out is acknowledged, which means that a refresh that was requested after
    /// that person's drop was uploaded has succeeded. All opt-outs with smaller numbers are acknowledged too.
    pub acknowledged: AtomicU64,
    random: AtomicU64,
    over: AtomicBool,
    /// How often each action was done, and how often each type of error occurred.
    done: Mutex<BTreeMap<String, u64>>,
}

impl Lake {
    pub async fn deploy(emulator: &Emulator, seed: u64) -> Result<Lake> {
        let stack = emulator.deploy(&Deployment::in_account("300000000001")).await?;
        stack.create_database("dmp").await?;
        stack.put("datasets.toml", DATASETS.replace("${BUCKET}", &stack.bucket)).await?;
        let lake = Lake {
            stack,
            endpoint: emulator.endpoint.clone(),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            random: AtomicU64::new(seed),
            over: AtomicBool::new(false),
            done: Mutex::default(),
        };
        lake.export(0).await.context("the first day")?;
        lake.opt_out(1).await?;
        lake.until("the extraction", async || lake.rows(oracle::Question::Extraction.sql()).await.is_ok()).await?;
        lake.refresh().await;
        lake.done.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(lake)
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Returns a random number below `below`. The same seed gives the same sequence of numbers, but the tasks may draw
    /// them in another order.
    pub fn random(&self, below: u64) -> u64 {
        // SplitMix64.
        let mut bits = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ bits >> 31) % below.max(1)
    }

    pub fn count(&self, what: impl Into<String>, times: u64) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner).entry(what.into()).or_default() += times;
    }

    pub fn done(&self) -> BTreeMap<String, u64> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Invokes a function, and counts the outcome. An error doesn't count as a fault, because the function may have
    /// been killed or the request may have come too late.
    pub async fn ask(&self, what: &str, function: &str, event: &Value) -> Option<Value> {
        let (outcome, answer) = match self.stack.invoke(function, event).await {
            Ok(Ok(answer)) => ("answered".into(), Some(answer)),
            Ok(Err(error)) => (error.error_type, None),
            Err(_) => ("no answer".into(), None),
        };
        self.count(format!("{what}: {outcome}"), 1);
        answer
    }

    /// Puts a day's source into the bucket, and invokes `export` for it.
    pub async fn export(&self, day: u64) -> Result<()> {
        self.stack.put("source/users.csv", oracle::csv(day)).await?;
        self.ask("export", "export", &json!({ "dataset": "users" })).await;
        Ok(())
    }

    /// Puts a drop in which one more person opts out. A second record in the drop opts the previous person in, but it
    /// is older than that person's opt-out, so it must have no effect.
    pub async fn opt_out(&self, person: u64) -> Result<()> {
        let before = person.saturating_sub(1).max(1);
        let csv = format!(
            "user_id,state,occurred_at\n{person},opted_out,2026-01-02T00:00:00Z\n{before},opted_in,2026-01-01T00:00:00Z\n"
        );
        self.stack.put(&drop_key(person), csv).await?;
        self.sent.store(person, Ordering::SeqCst);
        Ok(())
    }

    /// Requests a refresh. If it succeeds, every drop that was uploaded before the request is acknowledged.
    pub async fn refresh(&self) {
        let sent = self.sent.load(Ordering::SeqCst);
        let answer = self.ask("refresh", "optout", &json!({ "dataset": "optouts" })).await;
        if answer.is_some_and(|answer| answer["outcome"] == "swapped" || answer["outcome"] == "already_live") {
            self.acknowledged.fetch_max(sent, Ordering::SeqCst);
        }
    }

    pub async fn rows(&self, sql: &str) -> Result<Vec<oracle::Row>> {
        athena::rows(&self.stack.athena, &format!("s3://{}/athena/", self.stack.scratch), sql).await
    }

    /// Returns the first keys under a prefix in the bucket, at most a thousand.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let listed = self.stack.s3.list_objects_v2().bucket(&self.stack.bucket).prefix(prefix).send().await?;
        Ok(listed.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect())
    }

    pub async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_so().await {
            if start.elapsed() > PATIENCE {
                bail!("waited in vain for {what}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

pub fn drop_key(person: u64) -> String {
    format!("inbox/optouts/{person:05}.csv")
}

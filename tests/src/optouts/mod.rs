//! An in-memory lake with one opt-out inbox, and the faults that may hit it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    catalog, memory, query,
    rig::Sent,
    wire::{self, Call, Fate, Op, wired},
};
use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use turntable::{
    answer::{Flipped, OptedOut, Swept},
    clock::Clock,
    config::Place,
    deadline::Deadline,
    environment::Environment,
    error::Result,
    layout::{Generation, TableName, TablePaths},
    manifest::Manifest,
};

pub use turntable::consent::ConsentState as Out;

pub mod drops;
pub mod rows;

/// The line number of a rejected record, and why it was rejected.
type Rejected = (Option<u64>, String);

pub struct Lake {
    pub objects: memory::Objects,
    pub catalog: Arc<catalog::Memory>,
    pub athena: Arc<query::Memory>,
    wire: Wire,
    clock: Arc<AtomicI64>,
    random: Arc<AtomicU64>,
}

/// The wire over which every call to S3 and Glue goes. It counts the calls and decides their fates.
#[derive(Clone, Default)]
pub struct Wire {
    pub calls: Arc<AtomicUsize>,
    pub copies: Arc<AtomicUsize>,
    /// The call at which the process dies, and whether that call takes effect.
    pub dies: Option<(usize, bool)>,
    pub takes: Option<Duration>,
    /// A call's number, and what another writer does just before that call.
    pub meanwhile: Option<(usize, Arc<dyn Fn() + Send + Sync>)>,
    /// A seed that decides how many other tasks run during a call.
    pub turns: Option<Arc<AtomicU64>>,
}

#[async_trait]
impl wire::Wire for Wire {
    async fn fate(&self, call: Call) -> Fate {
        if let Op::Query | Op::OldestQuery = call.op {
            return Fate::Arrives;
        }
        if call.op == Op::Copy {
            self.copies.fetch_add(1, Ordering::Relaxed);
        }
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((_, act)) = self.meanwhile.as_ref().filter(|(at, _)| *at == number) {
            act();
        }
        if let Some(time) = self.takes {
            tokio::time::sleep(time).await;
        }
        if let Some(seed) = &self.turns {
            let next = |seed: u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            let seed = seed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap();
            for _ in 0..(seed >> 40) % 6 {
                tokio::task::yield_now().await;
            }
        }
        match self.dies {
            Some((at, _)) if number > at => Fate::Fails,
            Some((at, false)) if number == at => Fate::Fails,
            Some((at, true)) if number == at => Fate::LosesReply,
            _ => Fate::Arrives,
        }
    }
}

impl Wire {
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Default for Lake {
    fn default() -> Self {
        Lake::with("")
    }
}

impl Lake {
    /// Creates a lake. `more` is added to the inbox's options in datasets.toml.
    pub fn with(more: &str) -> Lake {
        let lake = Lake {
            objects: memory::Objects::default(),
            catalog: Arc::default(),
            athena: Arc::default(),
            wire: Wire::default(),
            clock: Arc::new(AtomicI64::new(1_800_000_000_000)),
            random: Arc::default(),
        };
        lake.configure(more);
        lake
    }

    /// Adds lines to the dataset's entry in datasets.toml.
    pub fn configure_dataset(&self, more: &str) {
        let text = self.get("s3://lake/datasets.toml").unwrap();
        self.objects.put("s3://lake/datasets.toml", [text, more.to_owned().into()].concat());
    }

    pub fn table_name(&self) -> TableName {
        TableName { database: "dmp".into(), table: "optouts".into() }
    }

    pub fn configure(&self, more: &str) {
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        self.objects.put(
            "s3://lake/datasets.toml",
            format!(
                "[datasets.optouts]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
                 source = {{ inbox = {{ location = \"s3://lake/inbox/optouts\", key = [\"user_id\"], \
                 columns = {{ user_id = \"bigint\" }}{more} }} }}\n"
            ),
        );
    }

    pub fn drop(&self, name: &str, text: impl Into<Bytes>) {
        self.objects.put(&format!("s3://lake/inbox/optouts/{name}"), text);
    }

    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }

    pub fn slow(&self, takes: Duration) -> Wire {
        Wire { takes: Some(takes), ..self.wire.clone() }
    }

    pub fn env(&self, wire: Wire) -> Environment {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let now = move || Timestamp::from_millisecond(clock.fetch_add(1, Ordering::Relaxed) + 1).unwrap();
        let env = Environment {
            catalog: self.catalog.port(),
            objects: Arc::new(self.objects.clone()),
            query: self.athena.clone(),
            clock: Clock::new(now, move || random.fetch_add(1, Ordering::Relaxed).into()),
            datasets: Place::S3("s3://lake/datasets.toml".parse().unwrap()),
            inboxes: Some("s3://lake/inbox".parse().unwrap()),
            dead_letters: None,
            invocation: None,
        };
        wired(&env, Arc::new(wire))
    }

    pub async fn handle(&self, wire: Wire, event: Value) -> Result<optout::Answer> {
        self.handle_until(None, wire, event).await
    }

    pub async fn handle_until(&self, deadline: Option<Deadline>, wire: Wire, event: Value) -> Result<optout::Answer> {
        let optout = optout::Optout { env: self.env(wire), secrets: None, iam: None, deadline };
        optout::handle(optout, event).await
    }

    async fn one(&self, wire: Wire, event: Value) -> Result<OptedOut> {
        match self.handle(wire, event).await? {
            optout::Answer::One(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    pub async fn refresh_on(&self, wire: Wire) -> Result<OptedOut> {
        self.one(wire, json!({ "dataset": "optouts" })).await
    }

    pub async fn refresh(&self) -> Result<OptedOut> {
        self.refresh_on(self.wire()).await
    }

    /// Invokes `optout` with a message from its queue. Panics if the message isn't acknowledged.
    pub async fn nudge(&self, wire: Wire) {
        let event = serde_json::from_str(include_str!("../../../events/optout-sqs.json")).unwrap();
        let answer = serde_json::to_value(self.handle(wire, event).await.unwrap()).unwrap();
        assert_eq!(answer, json!({ "batchItemFailures": [] }));
    }

    pub async fn reconcile(&self) -> Result<OptedOut> {
        self.one(self.wire(), json!({ "dataset": "optouts", "action": "reconcile" })).await
    }

    pub async fn schedule(&self) -> Result<Vec<OptedOut>> {
        match self.handle(self.wire(), json!({})).await? {
            optout::Answer::Many { refreshed } => Ok(refreshed),
            other => panic!("{other:?}"),
        }
    }

    /// Returns the time without moving the clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.load(Ordering::Relaxed)).unwrap()
    }

    pub fn advance(&self, by: SignedDuration) {
        self.clock.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
    }

    pub async fn sweep_on(&self, wire: Wire, dry_run: bool) -> Result<Swept> {
        self.sweep_of("optouts", wire, dry_run).await
    }

    pub async fn sweep_of(&self, dataset: &str, wire: Wire, dry_run: bool) -> Result<Swept> {
        let sweep =
            sweep::Sweep { env: self.env(wire), queue: Arc::<Sent>::default(), limits: sweep::Limits::default() };
        sweep::handle(sweep, json!({ "dataset": dataset, "dry_run": dry_run })).await
    }

    /// Invokes sweep for all datasets, as the schedule does.
    pub async fn sweep_all(&self) -> Result<Swept> {
        let env = self.env(self.wire());
        let sweep = sweep::Sweep { env, queue: Arc::<Sent>::default(), limits: sweep::Limits::default() };
        sweep::handle(sweep, json!({})).await
    }

    pub async fn sweep(&self) -> Swept {
        self.sweep_on(self.wire(), false).await.unwrap()
    }

    /// Returns the names of all drops in the inbox.
    pub fn inbox(&self) -> Vec<String> {
        let name = |key: String| Some(key.strip_prefix("s3://lake/inbox/optouts/")?.to_owned());
        self.objects.keys().into_iter().filter_map(name).filter(|name| !name.starts_with('_')).collect()
    }

    /// Returns the keys of all drops that the live manifest lists as consumed.
    pub fn consumed(&self) -> Vec<String> {
        let live = self.live().unwrap();
        let at = self.paths().manifest(&live);
        let manifest = Manifest::from_json(&at, &live, &self.get(&at.to_string()).unwrap()).unwrap();
        let drops = manifest.merge.unwrap().consumed.into_iter().flat_map(|by| by.drops);
        drops.map(|drop| drop.key).collect()
    }

    pub async fn operator(&self, request: Value) -> Result<Flipped> {
        flip::handle(self.env(Wire::default()), request).await
    }

    pub async fn deliver(&self, generation: &Generation) -> Result<Flipped> {
        let key = self.paths().manifest(generation);
        let mut event: Value = serde_json::from_str(include_str!("../../../events/flip-s3.json")).unwrap();
        event["detail"]["object"]["key"] = key.key.into();
        flip::handle(self.env(Wire::default()), event).await
    }

    /// Returns the status of all datasets.
    pub async fn overview(&self) -> turntable::status::Overview {
        turntable::flip::status_of_all(&self.env(Wire::default())).await.expect("an overview")
    }

    pub fn paths(&self) -> TablePaths {
        TablePaths::new(&"s3://lake/schemas".parse().unwrap(), "optouts")
    }

    pub fn live(&self) -> Option<Generation> {
        let table = self.catalog.get(&self.table_name())?;
        self.paths().parse_generation(&table.storage_descriptor()?.location()?.parse().ok()?)
    }

    pub fn manifests(&self) -> Vec<Generation> {
        let keys = self.objects.keys().into_iter().filter_map(|key| TablePaths::parse_manifest(&key.parse().unwrap()));
        keys.map(|(_, generation)| generation).collect()
    }

    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.objects.body(key)
    }

    /// Returns every row in the files that a generation's manifest lists: id, state, and time in Unix seconds.
    pub fn rows(&self, generation: &Generation) -> Vec<(i64, Out, i64)> {
        rows::of(&self.objects, &self.paths(), generation)
    }

    /// Returns every row of the live table, or none if there is no table.
    pub fn table(&self) -> Vec<(i64, Out, i64)> {
        self.live().map(|live| self.rows(&live)).unwrap_or_default()
    }

    /// Returns the contents of each object in `_rejected/`: the drop's name, and its rejected records.
    pub fn rejected(&self) -> Vec<(String, Vec<Rejected>)> {
        let keys = self
            .objects
            .keys()
            .into_iter()
            .filter(|key| key.contains("/_rejected/") && !key.ends_with("/_control.json"));
        keys.map(|key| {
            let file: Value = serde_json::from_slice(&self.get(&key).unwrap()).unwrap();
            let records = file["records"].as_array().unwrap();
            let lines = |reject: &Value| match (reject["line"].as_u64(), reject["last_line"].as_u64()) {
                (Some(first), Some(last)) => last - first + 1,
                _ => 1,
            };
            assert_eq!(file["rejected"], records.iter().map(lines).sum::<u64>());
            let one = |reject: &Value| (reject["line"].as_u64(), reject["reason"].as_str().unwrap().to_owned());
            (file["drop"].as_str().unwrap().to_owned(), records.iter().map(one).collect())
        })
        .collect()
    }

    pub fn calls(&self) -> usize {
        self.wire.calls()
    }

    pub fn copies(&self) -> usize {
        self.wire.copies.load(Ordering::Relaxed)
    }
}

/// Returns a CSV drop that opts these people out.
pub fn many(ids: Range<i64>) -> String {
    let lines: String = ids.map(|id| format!("{id},opted_out,2026-01-01T00:00:00Z\n")).collect();
    format!("user_id,state,occurred_at\n{lines}")
}

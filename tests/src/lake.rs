//! A lake in memory with one dataset, `users`: its CSV source, its table `dmp.users`, and the functions on them.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use async_trait::async_trait;
use export::Export;
use jiff::Timestamp;
use serde_json::{Value, json};
use turntable::{
    clock::Clock,
    config::Place,
    error::{Error, Result},
    name::TableName,
    port::Queue,
    record::{self, Flip},
    request::Flipped,
    world::World,
};

use crate::{catalog, memory, query};

pub struct Lake {
    pub glue: Arc<catalog::Memory>,
    pub s3: memory::Objects,
    pub athena: Arc<query::Memory>,
    pub world: World,
    seconds: Arc<AtomicI64>,
}

/// Nothing is queued here.
struct NoQueue;

#[async_trait]
impl Queue for NoQueue {
    async fn send(&self, _: Vec<String>) -> Result<()> {
        Err(Error::unavailable("no queue"))
    }
}

impl Default for Lake {
    fn default() -> Self {
        let (glue, s3, athena) =
            (Arc::<catalog::Memory>::default(), memory::Objects::default(), Arc::<query::Memory>::default());
        // Every look at the clock is a second later than the one before.
        let seconds = Arc::new(AtomicI64::new(1_800_000_000));
        let (now, random) = (seconds.clone(), AtomicU64::new(0));
        let clock = Clock::new(
            move || Timestamp::from_second(now.fetch_add(1, Ordering::Relaxed)).expect("a time of this century"),
            move || random.fetch_add(1, Ordering::Relaxed).into(),
        );
        let world = World {
            catalog: glue.clone(),
            objects: Arc::new(s3.clone()),
            query: athena.clone(),
            clock,
            datasets: Place::S3("s3://lake/datasets.toml".parse().expect("a key")),
        };
        Lake { glue, s3, athena, world, seconds }
    }
}

impl Lake {
    pub fn table() -> TableName {
        TableName { database: "dmp".into(), table: "users".into() }
    }

    /// The time without moving it.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.load(Ordering::Relaxed)).expect("a time of this century")
    }

    /// Writes datasets.toml: the dataset, with these lines added to it.
    pub fn configure(&self, columns: &str, more: &str) {
        let text = format!(
            "[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
             source = {{ files = {{ location = \"s3://lake/in/users.csv\", columns = {{ {columns} }} }} }}\n{more}\n"
        );
        self.s3.put("s3://lake/datasets.toml", text);
    }

    /// Exports a CSV, and gives the generation's name.
    pub async fn export(&self, csv: &str) -> String {
        self.s3.put("s3://lake/in/users.csv", csv.to_owned());
        let export = Export { world: self.world.clone(), queue: Arc::new(NoQueue), secrets: None };
        let answer = export::handle(export, json!({ "dataset": "users" })).await.expect("an export");
        let answer = serde_json::to_value(answer).expect("an answer");
        answer["generation"].as_str().expect("a generation").to_owned()
    }

    /// By hand.
    pub async fn flip(&self, generation: &str) -> Result<Flipped> {
        flip::handle(self.world.clone(), json!({ "dataset": "users", "generation": generation })).await
    }

    /// As S3's event of the manifest does.
    pub async fn event(&self, generation: &str) -> Result<Flipped> {
        let key = format!("schemas/users/_manifests/{generation}.json");
        let event = json!({
            "version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3", "account": "1",
            "time": "2026-11-22T00:00:00Z", "region": "us-east-1", "resources": [],
            "detail": { "bucket": { "name": "lake" }, "object": { "key": key } },
        });
        flip::handle(self.world.clone(), event).await
    }

    pub async fn ask(&self, request: Value) -> Result<Flipped> {
        flip::handle(self.world.clone(), request).await
    }

    /// Where the table is, and its columns as `name type`.
    pub fn live(&self) -> (String, Vec<String>) {
        let table = self.glue.get(&Self::table()).expect("the table");
        let storage = table.storage_descriptor().expect("a storage descriptor");
        let column = |c: &aws_sdk_glue::types::Column| format!("{} {}", c.name(), c.r#type().unwrap_or_default());
        (storage.location().unwrap_or_default().to_owned(), storage.columns().iter().map(column).collect())
    }

    /// Whether a generation is live.
    pub fn is_live(&self, generation: &str) -> bool {
        self.live().0 == format!("s3://lake/schemas/users/{generation}/")
    }

    /// Every flip on record, in order.
    pub async fn flips(&self) -> Vec<Flip> {
        let keys = self.s3.keys().into_iter().filter(|key| key.contains("/_flips/"));
        let mut flips = Vec::new();
        for key in keys {
            let key = key.parse().expect("a key");
            let json = self.world.objects.get(&key).await.expect("S3").expect("a flip");
            flips.push(record::from_json(&key, &json).expect("a flip"));
        }
        flips
    }
}

//! The functions themselves, in process, on S3 and Glue in memory and a clock that only tests move.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use turntable::{
    clock::Clock,
    config::Place,
    error::Result,
    name::{Generation, Home, TableName},
    port::{Catalog, Objects, Queue},
    request::Flipped,
    world::World,
};

use crate::{catalog, memory};

/// One dataset `users` of table `dmp.users` at `s3://lake/schemas/users/`, read from CSV at `s3://lake/in/`.
pub struct Rig {
    pub objects: memory::Objects,
    pub catalog: Arc<catalog::Memory>,
    pub queue: Arc<Sent>,
    pub home: Home,
    pub table: TableName,
    clock: Arc<AtomicI64>,
    random: Arc<AtomicU64>,
}

const DATASETS: &str = r#"
[defaults]
database = "dmp"
location = "s3://lake/schemas"

[datasets.users]
source = { files = { location = "s3://lake/in/", columns = { id = "bigint", name = "string" } } }
"#;

/// What was put into the queue.
#[derive(Default)]
pub struct Sent(pub Mutex<Vec<String>>);

#[async_trait]
impl Queue for Sent {
    async fn send(&self, bodies: Vec<String>) -> Result<()> {
        self.0.lock().expect("no test panics with it").extend(bodies);
        Ok(())
    }
}

impl Default for Rig {
    fn default() -> Self {
        Rig::with("checks = { min_rows = 1, max_shrink = 0.5 }\n")
    }
}

impl Rig {
    /// `more` is added to the dataset's entry.
    pub fn with(more: &str) -> Rig {
        let rig = Rig {
            objects: memory::Objects::default(),
            catalog: Arc::default(),
            queue: Arc::default(),
            home: Home::new(&"s3://lake/schemas".parse().expect("a location"), "users"),
            table: TableName { database: "dmp".into(), table: "users".into() },
            clock: Arc::new(AtomicI64::new(1_800_000_000_000)),
            random: Arc::default(),
        };
        rig.objects.put("s3://lake/datasets.toml", format!("{DATASETS}{more}"));
        rig.source(3);
        rig
    }

    /// A source of so many rows.
    pub fn source(&self, rows: usize) {
        let lines: String = (0..rows).map(|id| format!("{id},n{id}\n")).collect();
        self.objects.put("s3://lake/in/users.csv", format!("id,name\n{lines}"));
    }

    /// The world on a catalog or on objects of the test's own, such as ones that fail.
    pub fn world_on(&self, catalog: Arc<dyn Catalog>, objects: Arc<dyn Objects>) -> World {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        // Every look at the clock is a millisecond later: no two things happen at the same time.
        let now = move || Timestamp::from_millisecond(clock.fetch_add(1, Ordering::Relaxed) + 1).expect("a time");
        let clock = Clock::new(now, move || random.fetch_add(1, Ordering::Relaxed).into());
        World { catalog, objects, clock, datasets: Place::S3("s3://lake/datasets.toml".parse().expect("a key")) }
    }

    pub fn world(&self) -> World {
        self.world_on(self.catalog.clone(), Arc::new(self.objects.clone()))
    }

    pub async fn export_with(&self, world: World, event: Value) -> Result<export::Answer> {
        let export = export::Export { world, queue: self.queue.clone(), secrets: None };
        export::handle(export, event).await
    }

    /// A new candidate.
    pub async fn export(&self) -> Generation {
        match self.export_with(self.world(), json!({ "dataset": "users" })).await.expect("an export") {
            export::Answer::Exported(exported) => exported.generation,
            other => panic!("{other:?}"),
        }
    }

    /// The manifest's event.
    pub fn event(&self, generation: &Generation) -> Value {
        let key = self.home.manifest(generation);
        json!({
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": "123456789012",
            "time": "2024-11-21T02:00:41Z",
            "region": "ap-northeast-1",
            "resources": [],
            "detail": { "bucket": { "name": key.bucket }, "object": { "key": key.key } },
        })
    }

    pub async fn deliver(&self, generation: &Generation) -> Result<Flipped> {
        flip::handle(self.world(), self.event(generation)).await
    }

    pub async fn ask(&self, request: Value) -> Result<Flipped> {
        flip::handle(self.world(), request).await
    }

    /// The live generation; `None` where there is no table, or one elsewhere.
    pub fn live(&self) -> Option<Generation> {
        let table = self.catalog.get(&self.table)?;
        self.home.parse_generation(&table.storage_descriptor()?.location()?.parse().ok()?)
    }

    /// How many flips are on record.
    pub fn records(&self) -> usize {
        self.objects.keys().iter().filter(|key| key.contains("/_flips/")).count()
    }
}

//! Runs the functions in this process, on in-memory S3, Glue and Athena, with a clock that only tests move.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_glue::types::TableInput;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use turntable::{
    answer::{Flipped, Swept},
    aws,
    clock::Clock,
    config::Place,
    deadline::Deadline,
    environment::Environment,
    error::{Error, Result},
    layout::{Generation, TableName, TablePaths},
    port::{Catalog, Objects, Queue},
    record::{self, Flip, Hold},
};

use crate::{catalog, engine, memory, query};

/// A rig with one dataset, `users`: the table `dmp.users` at `s3://lake/schemas/users/`, read from CSV at
/// `s3://lake/in/`.
pub struct Rig {
    pub objects: memory::Objects,
    pub catalog: Arc<catalog::Memory>,
    pub athena: Arc<query::Memory>,
    pub queue: Arc<Sent>,
    pub engine: Arc<engine::Memory>,
    pub paths: TablePaths,
    pub table: TableName,
    clock: Arc<AtomicI64>,
    random: Arc<AtomicU64>,
}

const COLUMNS: &str = "id = \"bigint\", name = \"string\"";

/// A queue that keeps its messages, and a line about what became of each failed message.
#[derive(Default)]
pub struct Sent(pub Mutex<Vec<String>>, pub Mutex<Vec<String>>);

impl Sent {
    /// Returns how many messages went to the dead-letter queue.
    pub fn dead(&self) -> usize {
        self.1.lock().expect("no test panics with it").iter().filter(|line| line.contains(" is dead: ")).count()
    }
}

#[async_trait]
impl Queue for Sent {
    async fn send(&self, bodies: Vec<String>) -> Result<()> {
        self.0.lock().expect("no test panics with it").extend(bodies);
        Ok(())
    }

    async fn send_later(&self, body: String, after: Duration) -> Result<()> {
        self.1.lock().expect("no test panics with it").push(format!("{body} comes after {after:?}"));
        self.send(vec![body]).await
    }

    async fn change_visibility(&self, receipt: &str, after: Duration) -> Result<()> {
        self.1.lock().expect("no test panics with it").push(format!("{receipt} comes again after {after:?}"));
        Ok(())
    }

    async fn dead_letter(&self, body: &str, why: &Error) -> Result<()> {
        self.1.lock().expect("no test panics with it").push(format!("{body} is dead: {}", why.kind().as_str()));
        Ok(())
    }
}

impl Default for Rig {
    fn default() -> Self {
        Rig::with("checks = { min_rows = 1, max_shrink = 0.5 }\n")
    }
}

impl Rig {
    /// Creates a rig. `more` is added to the dataset's entry in datasets.toml.
    pub fn with(more: &str) -> Rig {
        let objects = memory::Objects::default();
        let rig = Rig {
            engine: Arc::new(engine::Memory::new(&objects)),
            objects,
            catalog: Arc::default(),
            athena: Arc::default(),
            queue: Arc::default(),
            paths: TablePaths::new(&"s3://lake/schemas".parse().expect("a location"), "users"),
            table: TableName { database: "dmp".into(), table: "users".into() },
            clock: Arc::new(AtomicI64::new(1_800_000_000_000)),
            random: Arc::default(),
        };
        rig.configure(COLUMNS, more);
        rig.source(3);
        rig
    }

    /// Creates a rig with one dataset, `optouts`: the table `dmp.optouts`, merged from `s3://lake/inbox/optouts/`.
    /// `more` is added to the dataset's entry in datasets.toml.
    pub fn inbox(more: &str) -> Rig {
        let rig = Rig {
            paths: TablePaths::new(&"s3://lake/schemas".parse().expect("a location"), "optouts"),
            table: TableName { database: "dmp".into(), table: "optouts".into() },
            ..Rig::with("")
        };
        let text = format!(
            "[datasets.optouts]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\nsource = {{ inbox = {{ location = \
             \"s3://lake/inbox/optouts\", key = [\"user_id\"], columns = {{ user_id = \"bigint\" }}, buckets = 2 }} }}\n\
             {more}\n"
        );
        rig.objects.put("s3://lake/datasets.toml", text);
        rig
    }

    /// Returns an independent copy of the rig.
    pub fn fork(&self) -> Rig {
        let objects = self.objects.fork();
        Rig {
            engine: Arc::new(self.engine.fork(&objects)),
            objects,
            catalog: Arc::new(self.catalog.fork()),
            athena: Arc::new(self.athena.fork()),
            queue: Arc::default(),
            paths: self.paths.clone(),
            table: self.table.clone(),
            clock: Arc::new(AtomicI64::new(self.clock.load(Ordering::Relaxed))),
            random: Arc::new(AtomicU64::new(self.random.load(Ordering::Relaxed))),
        }
    }

    /// Returns a rig on the same lake. The new rig's dataset publishes this table instead.
    pub fn named(&self, table: TableName, paths: TablePaths) -> Rig {
        Rig {
            objects: self.objects.clone(),
            catalog: self.catalog.clone(),
            athena: self.athena.clone(),
            queue: self.queue.clone(),
            engine: self.engine.clone(),
            paths,
            table,
            clock: self.clock.clone(),
            random: self.random.clone(),
        }
    }

    /// Rewrites datasets.toml with these columns. `more` is added to the dataset's entry.
    pub fn configure(&self, columns: &str, more: &str) {
        let text = format!(
            "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n[datasets.users]\n\
             source = {{ files = {{ location = \"s3://lake/in/\", columns = {{ {columns} }} }} }}\n{more}\n"
        );
        self.objects.put("s3://lake/datasets.toml", text);
    }

    /// Rewrites datasets.toml with this source, which is TOML.
    pub fn configure_source(&self, source: &str, more: &str) {
        let text = format!(
            "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n[datasets.users]\nsource = {{ {source} }}\n{more}\n"
        );
        self.objects.put("s3://lake/datasets.toml", text);
    }

    /// Returns the time without moving the clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.load(Ordering::Relaxed)).expect("a time")
    }

    /// Moves the clock.
    pub fn advance(&self, by: SignedDuration) {
        self.clock.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
    }

    /// Writes a source file with the columns of `users` and `rows` rows.
    pub fn source(&self, rows: usize) {
        let lines: String = (0..rows).map(|id| format!("{id},n{id}\n")).collect();
        self.objects.put("s3://lake/in/users.csv", format!("id,name\n{lines}"));
    }

    /// Returns an environment with another catalog and other objects, such as ones that fail.
    pub fn env_on(&self, catalog: Arc<dyn Catalog>, objects: Arc<dyn Objects>) -> Environment {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        // Each reading moves the clock by a millisecond, so that no two times are equal.
        let now = move || Timestamp::from_millisecond(clock.fetch_add(1, Ordering::Relaxed) + 1).expect("a time");
        // Random numbers are multiples of twenty, which give a refresh that lost a race the shortest pause.
        let clock = Clock::new(now, move || random.fetch_add(20, Ordering::Relaxed).into());
        let datasets = Place::S3("s3://lake/datasets.toml".parse().expect("a key"));
        Environment {
            catalog,
            objects,
            query: self.athena.clone(),
            clock,
            datasets,
            inboxes: None,
            dead_letters: None,
            invocation: None,
        }
    }

    pub fn env(&self) -> Environment {
        self.env_on(self.catalog.port(), Arc::new(self.objects.clone()))
    }

    pub async fn export_with(&self, env: Environment, event: Value) -> Result<export::Answer> {
        self.export_until(env, event, None).await
    }

    pub async fn export_until(
        &self,
        env: Environment,
        event: Value,
        deadline: Option<Deadline>,
    ) -> Result<export::Answer> {
        let export = export::Export {
            env,
            queue: self.queue.clone(),
            engine: self.engine.clone(),
            secrets: None,
            iam: None,
            deadline,
        };
        export::handle(export, event).await
    }

    /// Exports a new candidate.
    pub async fn export(&self) -> Generation {
        match self.export_with(self.env(), json!({ "dataset": "users" })).await.expect("an export") {
            export::Answer::Exported(exported) => exported.generation,
            other => panic!("{other:?}"),
        }
    }

    /// Exports a new candidate from this CSV.
    pub async fn export_csv(&self, csv: &str) -> Generation {
        self.objects.put("s3://lake/in/users.csv", csv.to_owned());
        self.export().await
    }

    /// Flips to a generation as an operator.
    pub async fn flip(&self, generation: &Generation) -> Result<Flipped> {
        self.ask(json!({ "dataset": "users", "generation": generation })).await
    }

    /// Returns the S3 event for a generation's manifest.
    pub fn event(&self, generation: &Generation) -> Value {
        let key = self.paths.manifest(generation);
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
        flip::handle(self.env(), self.event(generation)).await
    }

    /// Delivers Glue's event, which follows every change to the table, whoever makes it.
    pub async fn deliver_change(&self) -> Result<Flipped> {
        let event = serde_json::from_str(include_str!("../../events/flip-glue.json")).expect("JSON");
        self.ask(event).await
    }

    /// Invokes `sweep` for all datasets.
    pub async fn sweep(&self) -> Result<Swept> {
        let limits = sweep::Limits::default();
        sweep::handle(sweep::Sweep { env: self.env(), queue: self.queue.clone(), limits }, json!({})).await
    }

    /// Edits the table as somebody outside Turntable does: sends every field, but no version.
    pub fn edit_table(&self, edit: impl FnOnce(&mut TableInput)) {
        let mut input = aws::glue::unchanged(&self.catalog.get(&self.table).expect("a table"));
        edit(&mut input);
        self.catalog.put(&self.table.database, input);
    }

    /// Returns the keys of a generation's data files.
    pub fn files(&self, generation: &Generation) -> Vec<String> {
        let prefix = self.paths.generation(generation).to_string();
        self.objects.keys().into_iter().filter(|key| key.starts_with(&prefix)).collect()
    }

    /// Returns what the status of all datasets lists as needing attention.
    pub async fn attention(&self) -> Vec<String> {
        turntable::flip::status_of_all(&self.env()).await.expect("an overview").attention
    }

    pub async fn ask(&self, request: Value) -> Result<Flipped> {
        flip::handle(self.env(), request).await
    }

    /// Returns the live generation, or `None` if there is no table or its location is unmanaged.
    pub fn live(&self) -> Option<Generation> {
        let table = self.catalog.get(&self.table)?;
        self.paths.parse_generation(&table.storage_descriptor()?.location()?.parse().ok()?)
    }

    /// Returns the table's columns as `name type`.
    pub fn columns(&self) -> Vec<String> {
        let table = self.catalog.get(&self.table).expect("a table");
        let columns = crate::catalog::columns(&table);
        columns.iter().map(|column| format!("{} {}", column.name, column.glue_type)).collect()
    }

    /// Returns every flip record, in order.
    pub fn flips(&self) -> Vec<Flip> {
        let keys = self.objects.keys().into_iter().filter(|key| key.contains("/_flips/"));
        let flip = |key: String| {
            let json = self.objects.body(&key).expect("an object");
            record::from_json(&key.parse().expect("a key"), &json).expect("a flip")
        };
        keys.map(flip).collect()
    }

    /// Returns whether a hold is in force.
    pub fn is_held(&self) -> bool {
        let key = self.paths.hold();
        let hold = self.objects.body(&key.to_string());
        hold.is_some_and(|json| !record::from_json::<Hold>(&key, &json).expect("a hold").released)
    }

    /// Returns how many flip records there are.
    pub fn records(&self) -> usize {
        self.objects.keys().iter().filter(|key| key.contains("/_flips/")).count()
    }
}

//! One dataset on in-memory ports, with a clock that tests move, and everything that can happen to the dataset.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use arrow_array::{Int64Array, RecordBatch};
use jiff::{SignedDuration, Timestamp};
use sweep::{Limits, Sweep};
use tests::{catalog, memory, query, rig::Sent};
use turntable::{
    answer::Swept,
    catalog::Tables,
    clock::Clock,
    config::{Config, Dataset, Place, Retain},
    decision::{Live, Trigger},
    environment::Environment,
    error::Result,
    layout::{Colour, Generation},
    manifest::{File, Manifest, TypedBy, VERSION},
    publish::{self, Outcome},
    schema::Column,
};

pub struct Lake {
    pub catalog: Arc<catalog::Memory>,
    pub objects: memory::Objects,
    pub env: Environment,
    pub dataset: Dataset,
    seconds: Arc<AtomicI64>,
    /// The files of each generation that was written.
    written: Arc<Mutex<BTreeMap<Generation, Vec<File>>>>,
}

const CONFIG: &str = "[datasets.users]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n\
                      source = { files = { location = \"s3://lake/in/\" } }\n";

pub fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

pub fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

impl Lake {
    pub fn new(retain: Retain) -> Lake {
        Lake::at(retain, 1_700_000_000, 0, catalog::Memory::default(), memory::Objects::default())
    }

    fn at(retain: Retain, second: i64, random: u64, catalog: catalog::Memory, objects: memory::Objects) -> Lake {
        let seconds = Arc::new(AtomicI64::new(second));
        let (time, random) = (seconds.clone(), AtomicU64::new(random));
        let clock = Clock::new(
            move || Timestamp::from_second(time.load(Ordering::Relaxed)).unwrap(),
            move || random.fetch_add(1, Ordering::Relaxed).into(),
        );
        objects.put("s3://lake/datasets.toml", CONFIG);
        let dataset = Config::parse("datasets.toml", CONFIG).unwrap().dataset("users").unwrap().clone();
        let catalog = Arc::new(catalog);
        let env = Environment {
            catalog: catalog.port(),
            objects: Arc::new(objects.clone()),
            query: Arc::new(query::Memory::default()),
            clock,
            datasets: Place::S3("s3://lake/datasets.toml".parse().unwrap()),
            inboxes: None,
            dead_letters: None,
            invocation: None,
        };
        Lake { catalog, objects, env, dataset: Dataset { retain, ..dataset }, seconds, written: Arc::default() }
    }

    /// Returns an independent copy.
    pub fn fork(&self) -> Lake {
        Lake::at(
            self.dataset.retain,
            self.seconds.load(Ordering::Relaxed),
            1 << 32,
            self.catalog.fork(),
            self.objects.fork(),
        )
    }

    /// Returns another process on the same ports.
    pub fn beside(&self) -> Lake {
        Lake {
            catalog: self.catalog.clone(),
            objects: self.objects.clone(),
            env: self.env.clone(),
            dataset: self.dataset.clone(),
            seconds: self.seconds.clone(),
            written: self.written.clone(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    pub fn advance(&self, by: SignedDuration) {
        self.seconds.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    /// Writes a generation's data without its manifest.
    pub async fn data(&self, files: usize) -> Generation {
        let ulid = self.env.clock.ulid();
        let colour = if ulid.random().is_multiple_of(2) { Colour::Blue } else { Colour::Green };
        let generation = Generation { colour, ulid };
        let location = self.dataset.paths.generation(&generation);
        let file = |number| {
            let key = turntable::layout::part(number);
            let body = parquet_file();
            let bytes = body.len() as u64;
            let etag = self.objects.put(&location.key(&key).to_string(), body);
            File { key, bytes, rows: 1, etag }
        };
        self.written.lock().unwrap().insert(generation, (0..files).map(file).collect());
        generation
    }

    /// Completes a generation by writing its manifest.
    pub async fn complete(&self, generation: Generation) {
        let location = self.dataset.paths.generation(&generation);
        let files = self.written.lock().unwrap()[&generation].clone();
        let manifest = Manifest {
            version: VERSION,
            dataset: self.dataset.name.clone(),
            generation,
            base: self.live().await.location(&self.dataset.paths),
            location,
            as_of: self.now(),
            created_at: self.now(),
            spec: String::new(),
            typed_by: TypedBy::Source,
            columns: vec![Column { name: "id".into(), glue_type: "bigint".into() }],
            partitions: Vec::new(),
            rows: files.len() as u64,
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            nulled: Default::default(),
            missing: Default::default(),
            ignored: Default::default(),
            merge: None,
            group: None,
            read: None,
            inputs: Default::default(),
        };
        let key = self.dataset.paths.manifest(&generation);
        self.env.objects.put_new(&key, manifest.to_json().into()).await.unwrap();
    }

    pub async fn export(&self, files: usize) -> Generation {
        let generation = self.data(files).await;
        self.complete(generation).await;
        generation
    }

    pub async fn flip(&self, generation: Generation) -> Result<Outcome> {
        publish::flip(&self.env, &self.dataset, generation, Trigger::Event).await.map(|ended| ended.outcome)
    }

    pub async fn rollback(&self, generation: Generation) -> Result<Outcome> {
        publish::rollback(&self.env, &self.dataset, Some(generation), None).await.map(|ended| ended.outcome)
    }

    /// Exports a generation and makes it live.
    pub async fn turn(&self, files: usize) -> Generation {
        self.advance(minutes(1));
        let generation = self.export(files).await;
        assert_eq!(self.flip(generation).await.unwrap(), Outcome::Committed);
        generation
    }

    pub async fn live(&self) -> Live {
        let table = self.env.catalog.table(&self.dataset.table).await.unwrap();
        let location = table.map(|table| table.flippable_location(false).unwrap());
        Live::of(&self.dataset.paths, location.as_ref())
    }

    pub async fn sweep(&self) -> Swept {
        self.sweep_with(&self.env, None, false).await
    }

    pub async fn sweep_with(&self, env: &Environment, oldest_query: Option<Timestamp>, dry_run: bool) -> Swept {
        let query = Arc::new(query::Memory::default());
        query.running_since(oldest_query);
        let sweep = Sweep {
            env: Environment { query, ..env.clone() },
            queue: Arc::<Sent>::default(),
            limits: Limits::default(),
        };
        sweep::all(&sweep, (&[&self.dataset], None), Tables::default(), dry_run).await.0
    }

    /// Returns whether a generation is complete: its manifest exists, and so do as many objects as the manifest lists.
    pub async fn is_whole(&self, generation: &Generation) -> bool {
        let Ok(Some(manifest)) = publish::manifest(&self.env, &self.dataset, generation).await else { return false };
        let listed = self.env.objects.list(&manifest.location, None).await.unwrap();
        listed.len() == manifest.files.len()
    }

    /// Returns how many data files a generation has.
    pub async fn files(&self, generation: &Generation) -> usize {
        self.env.objects.list(&self.dataset.paths.generation(generation), None).await.unwrap().len()
    }
}

/// Returns a Parquet file with one row.
fn parquet_file() -> bytes::Bytes {
    static FILE: std::sync::OnceLock<bytes::Bytes> = std::sync::OnceLock::new();
    let written = || {
        let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ::parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes.into()
    };
    FILE.get_or_init(written).clone()
}
